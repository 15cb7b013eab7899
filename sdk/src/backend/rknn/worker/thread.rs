//! The thread of a worker: it alone calls the runtime, one frame after another, and frees what it allocated once everything
//! lent out is home.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

use rknn_sys::{rknn_query_cmd, rknn_sdk_version, text};

use super::{Done, FIRST_WAIT, Job, Origin, Ready, Spare, Start};
use crate::Error;
use crate::backend::rknn::bench::Bench;
use crate::backend::rknn::buffers::Home;
use crate::backend::rknn::context::Context;
use crate::backend::rknn::failure::{Failing, NpuFailure};
use crate::backend::rknn::versions::Versions;
use crate::backend::rknn::waker::Waker;

/// What a thread and its owner are linked by.
pub(super) struct Links {
    pub(super) tell: SyncSender<Result<Ready, Error>>,
    pub(super) inbox: Receiver<Job>,
    pub(super) outbox: SyncSender<Done>,
    pub(super) home: Arc<Home>,
    /// Dropped once no frame, and nothing else that was asked for, is under way.
    pub(super) alive: Arc<()>,
    pub(super) waker: Waker,
}

/// Everything the thread does.
pub(super) fn work(start: Start, links: Links) {
    let Links { tell, inbox, outbox, home, alive, waker } = links;
    let timeout = start.limits.run;
    let opened = open(start, &home);
    let first = inbox.recv_timeout(FIRST_WAIT);
    let mut bench = match opened {
        Ok((bench, ready)) => {
            // Where nobody waits for it any more, there are no jobs either.
            let _ = tell.send(Ok(ready));
            bench
        }
        Err(error) => {
            drop((outbox, alive));
            let _ = tell.send(Err(error));
            return;
        }
    };
    for job in first.into_iter().chain(inbox.iter()) {
        if home.is_abandoned() {
            continue;
        }
        match job {
            Job::Inspect(answer) => {
                let _ = answer.send(bench.usage());
            }
            Job::Duplicate(answer) => {
                let _ = answer.send(bench.duplicates(1).pop());
            }
            Job::Run { mut slot, source, submitted } => {
                let started = Instant::now();
                let outcome = bench.run(&mut slot, &source, timeout);
                drop(source);
                let _ = outbox.send(Done { slot, outcome, submitted, started, finished: Instant::now() });
                waker.wake();
            }
        }
    }
    // Says that no frame comes any more, whoever still holds buffers.
    drop((outbox, alive));
    bench.close(&home);
}

fn open(start: Start, home: &Arc<Home>) -> Result<(Bench, Ready), Error> {
    let Start {
        vendor,
        mut versions,
        origin,
        flags,
        core_mask,
        duplicates,
        sets,
        request,
        wanted,
        limits,
        ..
    } = start;
    let given = match origin {
        Origin::Model => None,
        Origin::Duplicate(unbound) => Some(unbound),
        // Half of the time is left for loading, should nothing come.
        Origin::Asked(answer) => {
            answer.recv_timeout(limits.of_frames(sets).min(limits.open / 2)).ok().flatten()
        }
    };
    let context = match given {
        Some(unbound) => unbound.bind(),
        None => Context::init(&vendor, &request.model, flags)
            .map_err(|failure| failure.during("rknn_init", &versions))?,
    };
    learn_versions(&context, &mut versions)?;
    let failed = |failing: Failing| failing.error(&versions);
    if let Some(mask) = core_mask {
        let set = context.set_core_mask(mask);
        set.map_err(|failure: NpuFailure| failed(failure.at("rknn_set_core_mask")))?;
    }
    let mut bench = Bench::new(context, &vendor, &request, &wanted, &versions)?;
    let plan = bench.plan().clone();
    if let Err(failing) = bench.allocate(home, sets) {
        bench.close(home);
        return Err(failed(failing));
    }
    // Last, so that no context that owns weights is given up while another shares them.
    let duplicates = Spare::new(bench.duplicates(duplicates), limits.of_frames(1));
    Ok((bench, Ready { plan, versions, duplicates }))
}

/// Asks the runtime for its versions, and refuses it if it is too old for the model.
fn learn_versions(context: &Context, versions: &mut Versions) -> Result<(), Error> {
    let answer = context.query(rknn_query_cmd::RKNN_QUERY_SDK_VERSION, rknn_sdk_version::default());
    if let Ok(answer) = answer {
        let stated = |field| Some(text(field)).filter(|text| !text.is_empty());
        versions.runtime = stated(&answer.api_version).or(versions.runtime.take());
        versions.driver = stated(&answer.drv_version).or(versions.driver.take());
    }
    versions.check()
}
