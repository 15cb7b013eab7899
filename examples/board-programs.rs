//! `board-programs`: every program of a board in one file, which is the program by whose name it is called. Nearly all of
//! each is the engine, which so is linked, shipped and loaded once. Exit code 2: called by another name.

#[path = "camera-demo.rs"]
mod camera_demo;
#[path = "detect-image.rs"]
mod detect_image;
#[path = "self-test.rs"]
mod self_test;

use std::path::Path;
use std::process::ExitCode;

use examples::console;

/// A program's name and where it begins.
type Program = (&'static str, fn() -> ExitCode);

const PROGRAMS: [Program; 3] = [
    ("camera-demo", camera_demo::main),
    ("detect-image", detect_image::main),
    ("self-test", self_test::main),
];

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default();
    if let Some((_, program)) = PROGRAMS.iter().find(|(program, _)| name == *program) {
        return program();
    }
    let names = PROGRAMS.map(|(program, _)| program).join(", ");
    console::note(format_args!(
        "error: {} is no program\n  expected: one of {names}\n  help: call this file through a link of such a name",
        name.display()
    ));
    ExitCode::from(2)
}
