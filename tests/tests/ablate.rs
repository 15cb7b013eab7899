//! The ablation as a user runs it: killed and run again, with cells trained by hand, and beside another training.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{epochs_done, kill_after, program, refused, run, small_dataset, text};

const PLAN: &str = "epochs: 3
imgsz: 64
batch: 8
seeds: [3, 4]
variants:
  - {name: plain, model: yolov5n, baseline: true}
  - {name: rep, model: repyolov5n, act: relu}
frames: [9, 9]
pictures: 1
bench_steps: 2
";

/// A dataset and a plan.
struct Bench {
    folder: tempfile::TempDir,
    data: PathBuf,
    plan: PathBuf,
}

impl Bench {
    fn new(plan: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = small_dataset(folder.path())?;
        let path = folder.path().join("plan.yaml");
        std::fs::write(&path, plan)?;
        Ok(Self { folder, data, plan: path })
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, out: &Path, more: &[&str]) -> Result<Command> {
        let mut command = Command::new(program("train-host")?);
        command
            .args(["ablate", text(&self.plan)?, "--data", text(&self.data)?, "--out", text(out)?])
            .args(more);
        Ok(command)
    }

    /// Runs the plan to its end and returns what it found and what it said. Whether the bar holds on frames of so small
    /// a model is chance; that the exit code says so is not.
    fn ablate(&self, out: &Path, more: &[&str]) -> Result<(Value, String)> {
        let output = self.command(out, more)?.arg("--json").output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let found: Value =
            serde_json::from_slice(&output.stdout).with_context(|| format!("no result, but:\n{said}"))?;
        let verdicts = found["bar"]["verdicts"].as_array().context("verdicts")?;
        let failures: Vec<&Value> = verdicts.iter().filter(|verdict| verdict["holds"] == false).collect();
        ensure!(output.status.code() == Some(i32::from(!failures.is_empty())), "{}:\n{said}", output.status);
        for failure in failures {
            let told = format!("{} takes", failure["form"].as_str().context("a form")?);
            ensure!(said.contains(&told), "{failure} is not told:\n{said}");
        }
        Ok((found, said))
    }

    /// Trains a cell by hand, with what the plan would train it with.
    fn by_hand(&self, out: &Path, epochs: &str) -> Result<Vec<String>> {
        let arguments = ["train", "--model", "yolov5n", "--data", text(&self.data)?, "--epochs", epochs];
        let fixed = ["--imgsz", "64", "--batch", "8", "--threads", "1", "--seed", "3"];
        let cell = out.join("plain/seed-3");
        let all = arguments.iter().chain(&fixed).chain(&["--out"]).map(|word| (*word).to_owned());
        Ok(all.chain([text(&cell)?.to_owned()]).collect())
    }
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// When each file of a cell was written last.
fn times(cell: &Path) -> Result<Vec<(PathBuf, SystemTime)>> {
    let mut times = Vec::new();
    for entry in std::fs::read_dir(cell)? {
        let entry = entry?;
        times.push((entry.path(), entry.metadata()?.modified()?));
    }
    times.sort();
    Ok(times)
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) -> Result<()> {
    for _ in 0..3000 {
        if is_there() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("{what} did not come within five minutes")
}

#[test]
fn a_killed_ablation_goes_on_and_ends_as_one_that_was_not() -> Result<()> {
    let bench = Bench::new(PLAN)?;
    // One that is not killed, which takes over a cell that was trained by hand.
    let whole = bench.out("whole");
    run("train-host", &words(&bench.by_hand(&whole, "3")?))?;
    let by_hand = times(&whole.join("plain/seed-3"))?;
    let (expected, _) = bench.ablate(&whole, &["--jobs", "2"])?;
    for (path, time) in by_hand {
        ensure!(path.metadata()?.modified()? == time, "{} was written again", path.display());
    }

    // One that is killed while the second cell is trained.
    let broken = bench.out("broken");
    let mut child = bench.command(&broken, &[])?.stderr(Stdio::null()).spawn()?;
    let (first, second) = (broken.join("plain/seed-3"), broken.join("rep/seed-3"));
    wait_for("the second cell", || epochs_done(&second) > 0 || matches!(child.try_wait(), Ok(Some(_))))?;
    child.kill()?;
    ensure!(child.wait()?.code().is_none(), "it ended before it could be killed");
    // Its training ends with it and lets go of the cell.
    let args = File::open(second.join("args.json"))?;
    wait_for("the end of the child", || args.try_lock().is_ok())?;
    args.unlock()?;
    let done = epochs_done(&second);
    ensure!(epochs_done(&first) == 3);

    let finished = times(&first)?;
    let (found, said) = bench.ablate(&broken, &[])?;
    ensure!(done == 3 || said.contains(&format!("going on with rep/seed-3 after epoch {done}")), "{said}");
    ensure!(!said.contains("plain/seed-3"), "a finished cell was trained again:\n{said}");
    for (path, time) in finished {
        ensure!(path.metadata()?.modified()? == time, "{} was written again", path.display());
    }
    ensure!(found["variants"] == expected["variants"], "{found:#}\n{expected:#}");

    // Once more: nothing is left to do, and the same is said.
    let files =
        ["table.md", "table.csv", "seeds.csv", "timing.csv", "report.html", "map.svg", "timing-torch.svg"];
    let read = || files.iter().map(|file| Ok(std::fs::read(broken.join(file))?)).collect::<Result<Vec<_>>>();
    let before = (read()?, times(&broken.join("timing"))?, times(&second)?);
    let (again, said) = bench.ablate(&broken, &[])?;
    ensure!(again == found && !said.contains("seed-"), "{said}");
    ensure!(before == (read()?, times(&broken.join("timing"))?, times(&second)?));
    check(&found, &broken)
}

/// What one result has to hold.
fn check(found: &Value, out: &Path) -> Result<()> {
    let variants = found["variants"].as_array().context("variants")?;
    ensure!(variants.len() == 2 && variants[0]["name"] == "plain" && variants[1]["act"] == "relu");
    for variant in variants {
        ensure!(variant["seeds"].as_array().map(Vec::len) == Some(2), "{variant:#}");
        ensure!(variant["accuracy"]["map50"]["deviation"].is_number(), "{variant:#}");
    }
    ensure!(variants[0]["sizes"]["fused"] == variants[1]["sizes"]["fused"]);
    let timings = found["timings"].as_array().context("timings")?;
    let order: Vec<_> = timings.iter().map(|t| (t["engine"].as_str(), t["repeat"].as_u64())).collect();
    let expected = [("tract", 1), ("tract", 2), ("torch", 1), ("torch", 2)];
    ensure!(order == expected.map(|(engine, repeat)| (Some(engine), Some(repeat))), "{order:?}");
    for timing in timings {
        let names: Vec<&str> =
            timing["forms"].as_array().context("forms")?.iter().filter_map(|f| f["name"].as_str()).collect();
        let forms = ["plain fused", "plain unfused", "plain (relu) fused", "rep unfused", "rep fused"];
        ensure!(names == forms, "{names:?}");
    }
    let verdicts = found["bar"]["verdicts"].as_array().context("verdicts")?;
    ensure!(verdicts.len() == 4 && verdicts[0]["ratios"].as_array().map(Vec::len) == Some(2), "{verdicts:?}");
    ensure!(found["cost"]["paired"].as_array().map(Vec::len) == Some(2), "{}", found["cost"]);
    let pictures = found["pictures"].as_array().context("pictures")?;
    ensure!(pictures.len() == 1, "{pictures:?}");
    let table = std::fs::read_to_string(out.join("table.md"))?;
    let picture = pictures[0].as_str().context("a file")?;
    ensure!(out.join(picture).is_file() && table.contains(picture) && table.contains("± "), "{table}");
    let frames = std::fs::read_to_string(out.join("timing/tract-9-2.csv"))?;
    ensure!(frames.lines().count() == 10 && frames.starts_with("frame,plain fused,"), "{frames}");
    Ok(())
}

#[test]
fn a_cell_that_another_process_trains_is_waited_for() -> Result<()> {
    let bench = Bench::new(&PLAN.replace("[3, 4]", "[3]"))?;
    let out = bench.out("out");
    kill_after(1, &words(&bench.by_hand(&out, "3")?), &out.join("plain/seed-3"))?;
    let args = File::open(out.join("plain/seed-3/args.json"))?;
    args.lock()?;
    let log = bench.out("log");
    let mut child = bench.command(&out, &[])?.stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for("the other cell", || said().contains("trained rep/seed-3"))?;
    ensure!(
        said().contains("plain/seed-3 is being trained by another process: waiting for it"),
        "{}",
        said()
    );
    ensure!(child.try_wait()?.is_none(), "{}", said());
    args.unlock()?;
    ensure!(child.wait()?.code().is_some() && out.join("table.md").is_file(), "{}", said());
    ensure!(said().contains("going on with plain/seed-3"), "{}", said());
    Ok(())
}

#[test]
fn what_does_not_fit_the_plan_is_refused_before_anything_is_trained() -> Result<()> {
    let bench = Bench::new(PLAN)?;
    let out = bench.out("out");
    run("train-host", &words(&bench.by_hand(&out, "1")?))?;
    let ablate = |plan: &Path, out: &Path| -> Result<String> {
        refused("train-host", &["ablate", text(plan)?, "--data", text(&bench.data)?, "--out", text(out)?])
    };
    let said = ablate(&bench.plan, &out)?;
    ensure!(said.contains("epochs 1") && said.contains("epochs 3") && said.contains("plain"), "{said}");

    let wrong = bench.out("wrong.yaml");
    let elsewhere = bench.out("elsewhere");
    for (from, to, named) in [
        ("imgsz: 64", "imgsz: 65", "65"),
        ("model: repyolov5n", "model: repyolov6n", "repyolov6n"),
        ("batch: 8", "batsch: 8", "did you mean `batch`?"),
        ("batch: 8", "batch: 0", "batch: 0"),
        ("batch: 8", "device: cuda:99\nbatch: 8", "cuda:99"),
        ("batch: 8", "device: tpu\nbatch: 8", "device \"tpu\""),
    ] {
        std::fs::write(&wrong, PLAN.replace(from, to))?;
        let said = ablate(&wrong, &elsewhere)?;
        ensure!(said.contains(named) && said.contains("help:"), "{to}: {said}");
    }
    ensure!(!elsewhere.join("plain").exists() && !out.join("rep").exists());
    Ok(())
}

#[test]
fn training_is_measured_alone_and_in_turn() -> Result<()> {
    let bench = Bench::new(PLAN)?;
    let models = ["bench-train", "--model", "yolov5n", "--model", "repyolov5n", "--data", text(&bench.data)?];
    let sizes = ["--imgsz", "64", "--batch", "8", "--nbs", "16", "--steps", "3", "--threads", "1", "--json"];
    let found: Value = serde_json::from_str(&run("train-host", &[&models[..], &sizes].concat())?)?;
    let alone = found["alone"].as_array().context("alone")?;
    ensure!(alone.len() == 2 && alone[1]["name"] == "repyolov5n", "{found:#}");
    for one in alone {
        let number = |key: &str| one[key].as_f64().with_context(|| format!("{key} of {one:#}"));
        ensure!(number("images_per_second")? > 0.0);
        ensure!((0.0..1.0).contains(&number("waiting_share")?));
        ensure!(number("peak_memory_bytes")? > number("idle_memory_bytes")?);
    }
    ensure!(found["paired"][0]["ratio"]["median"] == 1.0 && found["paired"][1]["name"] == "repyolov5n");
    let said = refused("train-host", &[&models[..], &["--steps", "0"]].concat())?;
    ensure!(said.contains("--steps 0"), "{said}");
    Ok(())
}
