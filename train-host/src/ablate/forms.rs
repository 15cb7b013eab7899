//! The models that are timed against each other: each variant as trained and as deployed, and for variants with another
//! activation the plain model with theirs, so that a ratio tells what the blocks cost and not what the activation does.

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::evaluation::trained;
use super::plan::Plan;
use super::sealed;
use crate::Result;
use crate::fuse::fused_graph;
use crate::model::{
    Activation, Architecture, Complexity, Graph, Op, Overrides, TrainedModel, complexity, keyword,
};

/// Whether batch norms and branches are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// As trained: batch norms, and several branches where the model has rep blocks.
    Unfused,
    /// As deployed: one path, convolutions with bias.
    Fused,
}

/// A model that is timed.
pub struct Form {
    /// What it is called: the variant and the stage.
    pub name: String,
    /// The variant, or the baseline under another activation.
    pub variant: String,
    /// Its stage.
    pub stage: Stage,
    /// The form it is compared to: the deployed plain model with the same activation. Absent where no plain model has it.
    pub plain: Option<usize>,
    /// Whether the bar of re-parameterization applies: see [`Role`].
    pub role: Role,
    /// What is run.
    pub model: TrainedModel,
    /// Digest of its weights file.
    pub digest: String,
}

/// What a form's ratio to the plain model has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Nothing: it is a plain model, or folds to another graph than the plain one has.
    Compared,
    /// Branches that fold to the plain model's graph: unfused it is slower, fused it never is.
    Reparameterized,
}

/// Size and cost of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// As trained.
    pub unfused: Size,
    /// As deployed.
    pub fused: Size,
}

/// Size and cost of one graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Trained values.
    pub parameters: usize,
    /// Floating-point operations of all convolutions for one image, a multiply-add counting as two.
    pub flops: u64,
    /// Nodes that compute something.
    pub layers: usize,
}

impl From<Complexity> for Size {
    fn from(complexity: Complexity) -> Self {
        let Complexity { parameters, flops, layers } = complexity;
        Self { parameters, flops, layers }
    }
}

/// Size and cost of a cell's model.
///
/// # Errors
/// As [`trained`], [`fused_graph`] and [`complexity::count`].
pub fn sizes(cell: &Cell) -> Result<Sizes> {
    let model = trained(cell)?;
    let count = |graph: &Graph| complexity::count(graph, model.imgsz).map(Size::from);
    let graph = &model.architecture.graph;
    Ok(Sizes { unfused: count(graph)?, fused: count(&fused_graph(graph)?)? })
}

/// The forms of `plan`, with the weights of `cells`: one cell a variant, in the plan's order. The deployed baseline comes
/// first.
///
/// # Errors
/// As [`trained`] and [`fused_graph`].
pub fn forms(plan: &Plan, cells: &[&Cell]) -> Result<Vec<Form>> {
    let models: Vec<TrainedModel> = cells.iter().map(|cell| trained(cell)).collect::<Result<_>>()?;
    let digests: Vec<String> =
        cells.iter().map(|cell| sealed::file_digest(&cell.best_weights())).collect::<Result<_>>()?;
    let baseline = &models[plan.baseline];
    let mut forms = vec![Form {
        name: label(&plan.baseline().name, Stage::Fused),
        variant: plan.baseline().name.clone(),
        stage: Stage::Fused,
        plain: Some(0),
        role: Role::Compared,
        model: baseline.clone(),
        digest: digests[plan.baseline].clone(),
    }];
    let mut plains = vec![(activation(&baseline.architecture.graph), 0)];
    for (index, (variant, model)) in plan.variants.iter().zip(&models).enumerate() {
        let act = activation(&model.architecture.graph);
        let plain = match plains.iter().find(|(known, _)| *known == act) {
            Some(&(_, at)) => Some(at),
            None => act.map(|act| plain_with(plan, &forms[0], act, forms.len())).transpose()?.map(|form| {
                plains.push((act, forms.len()));
                forms.push(form);
                forms.len() - 1
            }),
        };
        let plain_graph = |at: usize| &forms[at].model.architecture.graph;
        let role = plain.map_or(Ok(Role::Compared), |at| role(&model.architecture.graph, plain_graph(at)))?;
        for stage in [Stage::Unfused, Stage::Fused] {
            if (index, stage) == (plan.baseline, Stage::Fused) {
                continue;
            }
            let name = label(&variant.name, stage);
            let (variant, digest) = (variant.name.clone(), digests[index].clone());
            forms.push(Form { name, variant, stage, plain, role, model: model.clone(), digest });
        }
    }
    Ok(forms)
}

/// The baseline with another activation, which changes no weight; `at` is the place it will take.
fn plain_with(plan: &Plan, baseline: &Form, act: Activation, at: usize) -> Result<Form> {
    let overrides = Overrides { act: Some(act), block: plan.baseline().block };
    let classes = &baseline.model.architecture.head.classes;
    let architecture = Architecture::load(&plan.baseline().model, &overrides, classes)?;
    let variant = format!("{} ({})", plan.baseline().name, keyword(act));
    Ok(Form {
        name: label(&variant, Stage::Fused),
        variant,
        stage: Stage::Fused,
        plain: Some(at),
        role: Role::Compared,
        model: TrainedModel { architecture, ..baseline.model.clone() },
        digest: baseline.digest.clone(),
    })
}

/// The bar applies where the training form has more to compute and folding leaves exactly the plain graph.
fn role(graph: &Graph, plain: &Graph) -> Result<Role> {
    let has_branches = graph.nodes.len() > plain.nodes.len();
    let same = fused_graph(graph)? == fused_graph(plain)?;
    Ok(if has_branches && same { Role::Reparameterized } else { Role::Compared })
}

/// The activation of a graph that has only one.
fn activation(graph: &Graph) -> Option<Activation> {
    let mut all = graph.nodes.iter().filter_map(|node| match node.op {
        Op::Act(activation) => Some(activation),
        _ => None,
    });
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

fn label(variant: &str, stage: Stage) -> String {
    match stage {
        Stage::Unfused => format!("{variant} unfused"),
        Stage::Fused => format!("{variant} fused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablate::plan::Changes;
    use crate::model::checkpoint::{Checkpoint, save};
    use crate::model::initial_weights;

    /// Untrained cells of four variants: the second has rep blocks, the third ReLU as well, the fourth another layout.
    fn plan_and_cells(folder: &std::path::Path) -> (Plan, Vec<Cell>) {
        let text = "epochs: 1\nimgsz: 64\nseeds: [0]\nvariants:\n  - {name: rep, model: repyolov5n}\n  \
                    - {name: plain, model: yolov5n, baseline: true}\n  \
                    - {name: rep-relu, model: repyolov5n, act: relu}\n  - {name: lite, model: repyolov5s-lite}\n";
        let path = folder.join("p.yaml");
        std::fs::write(&path, text).unwrap();
        let plan = Plan::read(&path, Changes { data: Some("d".into()), frames: None }).unwrap();
        let cells = Cell::all(&plan, folder).unwrap();
        for cell in &cells {
            let overrides = Overrides { act: cell.config.act, block: cell.config.block };
            let architecture = Architecture::load(&cell.config.model, &overrides, &["a".to_owned()]).unwrap();
            let weights = initial_weights(&architecture, cell.seed);
            let model = TrainedModel { architecture, weights, imgsz: cell.config.imgsz };
            save(&cell.best_weights(), &Checkpoint::Trained(model)).unwrap();
        }
        (plan, cells)
    }

    #[test]
    fn each_variant_meets_the_plain_model_of_its_activation() {
        let dir = tempfile::tempdir().unwrap();
        let (plan, cells) = plan_and_cells(dir.path());
        let forms = forms(&plan, &cells.iter().collect::<Vec<_>>()).unwrap();
        let found: Vec<(&str, Option<usize>, Role)> =
            forms.iter().map(|form| (form.name.as_str(), form.plain, form.role)).collect();
        let (compared, bar) = (Role::Compared, Role::Reparameterized);
        let expected = [
            ("plain fused", Some(0), compared),
            ("rep unfused", Some(0), bar),
            ("rep fused", Some(0), bar),
            ("plain unfused", Some(0), compared),
            ("plain (relu) fused", Some(4), compared),
            ("rep-relu unfused", Some(4), bar),
            ("rep-relu fused", Some(4), bar),
            ("lite unfused", Some(0), compared),
            ("lite fused", Some(0), compared),
        ];
        assert_eq!(found, expected);
        assert_eq!(forms[4].model.weights, forms[0].model.weights);
    }

    #[test]
    fn folding_leaves_the_plain_models_size() {
        let dir = tempfile::tempdir().unwrap();
        let (_, cells) = plan_and_cells(dir.path());
        let (rep, plain) = (sizes(&cells[0]).unwrap(), sizes(&cells[1]).unwrap());
        assert_eq!(rep.fused, plain.fused);
        assert!(rep.unfused.parameters > plain.unfused.parameters && rep.unfused.flops > plain.unfused.flops);
    }
}
