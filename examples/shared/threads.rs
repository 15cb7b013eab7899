//! Which cores the stages, and the threads of sinks, run on: what the board file says.

use boards::Board;
use repedge::pipeline::Pinning;

/// The cores of `board`, where it names them; else the kernel chooses.
pub fn pinning(board: Option<&Board>) -> Pinning {
    let Some(threads) = board.and_then(|board| board.threads.clone()) else { return Pinning::default() };
    Pinning {
        capture: threads.capture,
        preprocess: threads.preprocess,
        inference: threads.inference,
        decode: threads.decode,
        sinks: threads.sinks,
    }
}
