//! The line to the broker: made, kept, and made again after a while that grows.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use artifact::Fault;
use rumqttc::{AsyncClient, ClientError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS};
use tokio::time::{sleep, timeout};

use super::settings::Settings;
use super::{Line, Next, Outbox};
use crate::Error;

/// Until a broker that is away is tried again, at first and at last.
const BACK_OFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// How often a silent line is tried.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Until we leave without saying so.
const FAREWELL: Duration = Duration::from_secs(2);
/// Largest packets in and out, in bytes.
const MAX_PACKETS: [usize; 2] = [4 << 10, 1 << 20];
/// Largest message; the rest of a packet is its topic.
const MAX_MESSAGE: usize = MAX_PACKETS[1] - 1024;

/// Sends what is in `outbox` until it is closed.
pub(super) fn serve(settings: &Settings, outbox: &Outbox) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return outbox.trouble.tell(trouble(format!("MQTT: {error}")));
        }
    };
    // One request at a time: what waits should wait where the oldest goes first.
    let (client, events) = AsyncClient::new(options(settings), 1);
    runtime.block_on(async {
        tokio::select! {
            () = keep(events, settings, outbox) => {}
            () = farewell(&client, settings, outbox) => {}
        }
    });
    runtime.shutdown_background();
}

fn options(settings: &Settings) -> MqttOptions {
    // Two clients of one name would throw each other out.
    let number = RandomState::new().build_hasher().finish();
    let mut options =
        MqttOptions::new(format!("repedge-{:012x}", number >> 16), settings.host.clone(), settings.port);
    let will = LastWill::new(settings.availability(), "offline", QoS::AtLeastOnce, true);
    options
        .set_last_will(will)
        .set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(MAX_PACKETS[0], MAX_PACKETS[1]);
    if let Some([user, password]) = &settings.login {
        options.set_credentials(user.clone(), password.clone());
    }
    options
}

/// Keeps the line; returns once we have taken our leave.
async fn keep(mut events: EventLoop, settings: &Settings, outbox: &Outbox) {
    let mut pause = BACK_OFF[0];
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                pause = BACK_OFF[0];
                outbox.trouble.is_over();
                outbox.set_line(Line::New);
            }
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
            Ok(_) => {}
            Err(error) => {
                outbox.set_line(Line::Down);
                outbox
                    .trouble
                    .tell(trouble(format!("MQTT broker {}:{}: {error}", settings.host, settings.port)));
                sleep(pause).await;
                pause = (pause * 2).min(BACK_OFF[1]);
            }
        }
    }
}

/// Sends until the outbox is closed, then says that we leave; returns if that takes too long.
async fn farewell(client: &AsyncClient, settings: &Settings, outbox: &Outbox) {
    let availability = settings.availability();
    tokio::select! {
        // Fails only when nobody keeps the line, which ends this too.
        _ = feed(client, settings, outbox, &availability) => {}
        () = outbox.closed.notified() => {}
    }
    let leave = async {
        client.publish(&availability, QoS::AtLeastOnce, true, "offline").await?;
        client.disconnect().await?;
        std::future::pending::<Result<(), ClientError>>().await
    };
    // Without a line there is nobody to tell.
    if outbox.lock().line != Line::Down {
        let _ = timeout(FAREWELL, leave).await;
    }
}

async fn feed(
    client: &AsyncClient,
    settings: &Settings,
    outbox: &Outbox,
    availability: &str,
) -> Result<(), ClientError> {
    loop {
        match outbox.next().await {
            Next::Online => client.publish(availability, QoS::AtLeastOnce, true, "online").await?,
            Next::Message(message) => {
                // A line that ends because of one message would never stay.
                if message.len() <= MAX_MESSAGE {
                    // A copy: the client keeps what it gets, and whoever makes messages needs this memory for the next one.
                    client.publish(&settings.topic, QoS::AtMostOnce, false, message.clone()).await?;
                }
                outbox.lock().recycle(message);
            }
        }
    }
}

fn trouble(found: String) -> Error {
    Error::Input(Fault::new(
        found,
        "a broker that answers",
        "check `broker`, `user` and `password_file` under [mqtt]; it is tried again and again",
    ))
}
