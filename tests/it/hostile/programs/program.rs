//! The programs: what callers do, and what the daemons do to their requests and jobs.

use foreman_client::DropPolicy;
use proptest::collection::vec;
use proptest::prelude::*;

/// Numbers of requests, waits and jobs are taken modulo the number of those that there are, so that each program is valid and shrinks.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// Of the client's random numbers, such as the jitter of polls.
    pub(super) seed: u64,
    pub(super) daemons: [DaemonPlan; 2],
    /// At the end all requests and waits are dropped at once, whatever they are doing.
    pub(super) abandons: bool,
    /// What the gates of clients 3 and 4 do. Those after the last one are open.
    pub(super) gates: Vec<GatePlan>,
    pub(super) steps: Vec<Step>,
}

/// What a service does that is asked whether it is ready.
#[derive(Debug, Clone, Copy)]
pub(super) enum GatePlan {
    Open,
    Opens {
        after: u64,
    },
    /// It is ready, and refuses the request.
    Sheds,
    /// `poll_ready` fails.
    Fails,
}

#[derive(Debug, Clone)]
pub(super) struct DaemonPlan {
    /// Supports idempotency keys, and echoes them.
    pub(super) keys: bool,
    /// The clients know that before the first response.
    pub(super) keys_assumed: bool,
    /// The events are signed.
    pub(super) signed: bool,
    /// One for each submission and poll that arrives. Those after the last one have no fault.
    pub(super) posts: Vec<PostPlan>,
    pub(super) polls: Vec<PollPlan>,
    pub(super) jobs: Vec<JobPlan>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PostPlan {
    pub(super) fault: PostFault,
    /// Until the job exists, and from then until the response.
    pub(super) before: u64,
    pub(super) after: u64,
    /// The request arrives even if its caller drops it before.
    pub(super) detached: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PostFault {
    None,
    Refused,
    TooMany {
        retry_after: Option<u64>,
    },
    Unavailable {
        retry_after: Option<u64>,
    },
    LostBeforeArrival,
    HangsBeforeArrival,
    ResponseLost,
    ResponseHangs,
    /// The response of a proxy to a submission that the daemon has accepted.
    BadGateway,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PollPlan {
    pub(super) fault: PollFault,
    pub(super) delay: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum PollFault {
    None,
    Reset,
    Status(u16),
    TooMany,
    Hangs,
    Nonsense,
}

#[derive(Debug, Clone)]
pub(super) struct JobPlan {
    pub(super) queued: u64,
    pub(super) runs: u64,
    pub(super) fails: bool,
    /// Of the states queued, running, and done or failed.
    pub(super) events: [EventPlan; 3],
}

#[derive(Debug, Clone, Copy)]
pub(super) enum EventPlan {
    OnTime,
    Lost,
    Late {
        by: u64,
    },
    Twice {
        apart: u64,
    },
    /// On time, and later to the callback URL of another job.
    Replayed {
        job: usize,
        after: u64,
    },
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Request {
        deadline: Option<u64>,
        on_drop: DropPolicy,
    },
    Clone {
        request: usize,
    },
    /// Drops one clone of the request.
    DropRequest {
        request: usize,
    },
    Call {
        request: usize,
        client: usize,
    },
    Attach {
        job: usize,
        client: usize,
    },
    PollOnce {
        wait: usize,
        waker: WakerPlan,
    },
    /// Polls it to the end in a task of its own.
    Spawn {
        wait: usize,
    },
    /// It is not polled again before it is dropped at the end.
    Neglect {
        wait: usize,
    },
    Leak {
        wait: usize,
    },
    Drop {
        wait: usize,
    },
    /// Another task polls it for a while.
    Move {
        wait: usize,
        time: u64,
    },
    /// `select!` with a timer, in a loop.
    Select {
        wait: usize,
        every: u64,
        times: u8,
    },
    /// A `FuturesUnordered` that is polled for a while, not polled for a while, and then to the end or dropped.
    Group {
        waits: Vec<usize>,
        polled: u64,
        unpolled: u64,
        dropped: bool,
    },
    /// A `Submission`, its `accepted()`, and its `States`.
    Accepted {
        request: usize,
    },
    States {
        request: usize,
        items: u8,
    },
    /// `Reattach` above `Timeout`.
    Stack {
        request: usize,
        client: usize,
        timeout: u64,
        retries: u32,
    },
    /// `JobErrors` above `Timeout` above `Reattach`, which renews, above `Timeout`.
    Renew(Renewing),
    /// A clone is sent by the `Api`, and dropped after `patience`.
    Bare {
        request: usize,
        client: usize,
        patience: u64,
    },
    /// Several calls in a row, each with a request of its own or with clones of one.
    Burst {
        client: usize,
        calls: u8,
        every: u64,
        deadline: Option<u64>,
        clones: bool,
    },
    Advance {
        time: u64,
    },
    Shutdown {
        client: usize,
        grace: u64,
    },
}

/// A stack that runs failed jobs again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewing {
    pub(super) request: usize,
    pub(super) client: usize,
    /// Of each call, and of all calls together.
    pub(super) timeouts: [u64; 2],
    pub(super) times: u32,
    /// Through `Progress`.
    pub(super) progress: bool,
}

/// What the waker of a wait does when it is woken.
#[derive(Debug, Clone, Copy)]
pub(super) enum WakerPlan {
    Nothing,
    Polls { wait: usize },
    Drops { wait: usize },
}

/// Client 1 is of daemon 1, and the others of daemon 0. Client 2 has no webhooks. Clients 3 and 4 are layers with a gate, below the wait
/// and below the retry of submissions.
fn client() -> impl Strategy<Value = usize> {
    prop_oneof![6 => Just(0), 2 => Just(1), 2 => Just(2), 1 => Just(3), 1 => Just(4)]
}

fn gate() -> impl Strategy<Value = GatePlan> {
    prop_oneof![
        2 => Just(GatePlan::Open),
        3 => time().prop_map(|after| GatePlan::Opens { after }),
        1 => Just(GatePlan::Sheds),
        1 => Just(GatePlan::Fails),
    ]
}

fn index() -> impl Strategy<Value = usize> {
    0..12_usize
}

/// Mostly short, and sometimes longer than the limits of the client.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..50_u64, 3 => 50..3_000_u64, 2 => 3_000..15_000_u64, 1 => 15_000..200_000_u64]
}

fn post() -> impl Strategy<Value = PostPlan> {
    let retry_after = || prop_oneof![Just(None), (0..4_u64).prop_map(Some), (1..40_u64).prop_map(Some)];
    let fault = prop_oneof![
        8 => Just(PostFault::None),
        1 => Just(PostFault::Refused),
        2 => retry_after().prop_map(|retry_after| PostFault::TooMany { retry_after }),
        2 => retry_after().prop_map(|retry_after| PostFault::Unavailable { retry_after }),
        1 => Just(PostFault::LostBeforeArrival),
        1 => Just(PostFault::HangsBeforeArrival),
        2 => Just(PostFault::ResponseLost),
        1 => Just(PostFault::ResponseHangs),
        1 => Just(PostFault::BadGateway),
    ];
    let delay = || prop_oneof![4 => 0..20_u64, 2 => 20..3_000_u64, 1 => 3_000..40_000_u64];
    (fault, delay(), delay(), any::<bool>()).prop_map(|(fault, before, after, detached)| PostPlan {
        fault,
        before,
        after,
        detached,
    })
}

fn poll() -> impl Strategy<Value = PollPlan> {
    let fault = prop_oneof![
        8 => Just(PollFault::None),
        1 => Just(PollFault::Reset),
        1 => prop::sample::select(vec![500, 502, 503, 408]).prop_map(PollFault::Status),
        1 => Just(PollFault::TooMany),
        1 => Just(PollFault::Hangs),
        1 => Just(PollFault::Nonsense),
    ];
    let delay = prop_oneof![6 => 0..20_u64, 1 => 20..5_000_u64];
    (fault, delay).prop_map(|(fault, delay)| PollPlan { fault, delay })
}

fn job() -> impl Strategy<Value = JobPlan> {
    let event = || {
        prop_oneof![
            4 => Just(EventPlan::OnTime),
            2 => Just(EventPlan::Lost),
            2 => time().prop_map(|by| EventPlan::Late { by }),
            1 => time().prop_map(|apart| EventPlan::Twice { apart }),
            1 => (index(), time()).prop_map(|(job, after)| EventPlan::Replayed { job, after }),
        ]
    };
    let length = || prop_oneof![2 => Just(0), 3 => 0..2_000_u64, 2 => 2_000..60_000_u64, 1 => 60_000..150_000_u64];
    (length(), length(), any::<bool>(), [event(), event(), event()]).prop_map(|(queued, runs, fails, events)| JobPlan {
        queued,
        runs,
        fails,
        events,
    })
}

fn daemon() -> impl Strategy<Value = DaemonPlan> {
    let plans = (vec(post(), 0..8), vec(poll(), 0..12), vec(job(), 0..6));
    (any::<bool>(), any::<bool>(), prop::bool::weighted(0.7), plans).prop_map(
        |(keys, assumed, signed, (posts, polls, jobs))| DaemonPlan {
            keys,
            keys_assumed: keys && assumed,
            signed,
            posts,
            polls,
            jobs,
        },
    )
}

fn request() -> impl Strategy<Value = Step> {
    let on_drop = prop::sample::select(vec![DropPolicy::Detach, DropPolicy::Cancel]);
    (proptest::option::weighted(0.3, time()), on_drop)
        .prop_map(|(deadline, on_drop)| Step::Request { deadline, on_drop })
}

fn burst() -> impl Strategy<Value = Step> {
    let deadline = proptest::option::of(1..20_000_u64);
    (client(), 2..6_u8, 0..400_u64, deadline, any::<bool>())
        .prop_map(|(client, calls, every, deadline, clones)| Step::Burst { client, calls, every, deadline, clones })
}

fn renewing() -> impl Strategy<Value = Renewing> {
    (index(), client(), [100..60_000_u64, 100..100_000_u64], 1..4_u32, any::<bool>()).prop_map(
        |(request, client, timeouts, times, progress)| Renewing { request, client, timeouts, times, progress },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let waker = prop_oneof![
        4 => Just(WakerPlan::Nothing),
        2 => index().prop_map(|wait| WakerPlan::Polls { wait }),
        1 => index().prop_map(|wait| WakerPlan::Drops { wait }),
    ];
    prop_oneof![
        3 => request(),
        1 => index().prop_map(|request| Step::Clone { request }),
        2 => index().prop_map(|request| Step::DropRequest { request }),
        10 => (index(), client()).prop_map(|(request, client)| Step::Call { request, client }),
        1 => (index(), client()).prop_map(|(job, client)| Step::Attach { job, client }),
        9 => (index(), waker).prop_map(|(wait, waker)| Step::PollOnce { wait, waker }),
        6 => index().prop_map(|wait| Step::Spawn { wait }),
        2 => index().prop_map(|wait| Step::Neglect { wait }),
        1 => index().prop_map(|wait| Step::Leak { wait }),
        4 => index().prop_map(|wait| Step::Drop { wait }),
        2 => (index(), time()).prop_map(|(wait, time)| Step::Move { wait, time }),
        2 => (index(), 1..3_000_u64, 1..20_u8).prop_map(|(wait, every, times)| Step::Select { wait, every, times }),
        2 => (vec(index(), 1..6), time(), time(), any::<bool>())
            .prop_map(|(waits, polled, unpolled, dropped)| Step::Group { waits, polled, unpolled, dropped }),
        1 => index().prop_map(|request| Step::Accepted { request }),
        1 => (index(), any::<u8>()).prop_map(|(request, items)| Step::States { request, items }),
        2 => (index(), client(), 1..20_000_u64, 1..9_u32)
            .prop_map(|(request, client, timeout, retries)| Step::Stack { request, client, timeout, retries }),
        2 => renewing().prop_map(Step::Renew),
        1 => (index(), 0..3_usize, time()).prop_map(|(request, client, patience)| Step::Bare { request, client, patience }),
        2 => burst(),
        14 => time().prop_map(|time| Step::Advance { time }),
        1 => (client(), time()).prop_map(|(client, grace)| Step::Shutdown { client, grace }),
    ]
}

pub(super) fn program() -> impl Strategy<Value = Program> {
    let plans = ([daemon(), daemon()], vec(gate(), 0..6), prop::bool::weighted(0.3));
    (any::<u64>(), plans, request(), vec(step(), 2..40)).prop_map(
        |(seed, (daemons, gates, abandons), first, mut steps)| {
            steps.insert(0, first);
            Program { seed, daemons, abandons, gates, steps }
        },
    )
}
