//! The simulated server beside a real one: the same requests, the same answers.

use std::time::Duration;

use keybound::domain::{Binding, Family, FamilyState, Generation, RevokeReason};
use keybound::store::conformance::sample;
use keybound::store::record;
use keybound_proofs::UnixTime;
use keybound_testkit::redis::RedisServer;
use redis::{Pipeline, Value};

use crate::dice::Dice;
use crate::redis::resp::Reply;
use crate::redis::server::Server;

const SCRIPTS: [&str; 6] = [
    include_str!("../../src/store/redis/advance.lua"),
    include_str!("../../src/store/redis/revoke.lua"),
    include_str!("../../src/store/redis/merge.lua"),
    include_str!("../../src/store/redis/epoch.lua"),
    include_str!("../../src/store/redis/unclaim.lua"),
    include_str!("../../src/store/redis/swap.lua"),
];

/// How many calls go out in one message.
const TOGETHER: usize = 100;

/// Calls: `KEYBOUND_CALLS`.
#[tokio::test]
async fn the_simulated_server_answers_as_a_real_one() {
    let calls: usize = std::env::var("KEYBOUND_CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let real = RedisServer::start(&["--save", ""]).await;
    let client = redis::Client::open(real.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the server is there");
    let mut simulated = Server::new(1, true);
    let mut dice = Dice::new(7);
    let mut outcomes = std::collections::BTreeMap::<String, u32>::new();
    for round in 0..calls / TOGETHER {
        let now_ms = time(&mut connection).await;
        let requests: Vec<Vec<Vec<u8>>> = (0..TOGETHER).map(|_| call(&mut dice, now_ms)).collect();
        let mut pipeline = Pipeline::new();
        for request in &requests {
            let mut cmd = redis::Cmd::new();
            for word in request {
                cmd.arg(word);
            }
            pipeline.add_command(cmd);
        }
        let answers = connection.send_packed_commands(&pipeline, 0, pipeline.len()).await.expect("answers");
        for (request, answer) in requests.iter().zip(answers) {
            let (mine, real) = (without_time(request, simulated.execute(request, now_ms)), without_time(request, reply(answer)));
            assert_eq!(mine, real, "round {round}: {request:?}");
            let kind = String::from_utf8_lossy(&request[0]).into_owned();
            *outcomes.entry(format!("{kind} {}", shape(&mine))).or_default() += 1;
        }
    }
    println!("{calls} calls: {outcomes:?}");
    for shape in ["SET nil", "SET bytes", "GET bytes", "GET nil", "EVAL [1, bytes]", "EVALSHA [1, bytes]", "EVALSHA error"] {
        assert!(outcomes.contains_key(shape), "{shape} never came: {outcomes:?}");
    }
    for outcome in [-6, -5, -4, -3, -2, -1, 2, 3, 4, 5, 6, 7] {
        let came = |shape: &&String| shape.contains(&format!("[{outcome}]")) || shape.contains(&format!("[{outcome}, bytes]"));
        assert!(outcomes.keys().any(|shape| came(&shape)), "no outcome {outcome}: {outcomes:?}");
    }
}

async fn time(connection: &mut redis::aio::MultiplexedConnection) -> i64 {
    let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(connection).await.expect("the time");
    seconds * 1000 + micros / 1000
}

/// A request such as the store sends, to one of a few keys, so that every state of a key meets every request.
fn call(dice: &mut Dice, now_ms: i64) -> Vec<Vec<u8>> {
    let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
    let family_key = format!("f:{}", dice.below(12)).into_bytes();
    let other_key = format!("rp:{}", dice.below(6)).into_bytes();
    let value = format!("v{}", dice.below(3)).into_bytes();
    let now = UnixTime::from_millis(now_ms);
    match dice.below(14) {
        0 => words(&[b"SET", &other_key, &value, b"NX", b"GET", b"PX", b"900000"]),
        1 => words(&[b"SET", &other_key, &value, b"PX", b"900000"]),
        2 => words(&[b"GET", if dice.percent(50) { &other_key } else { &family_key }]),
        3 => words(&[b"MGET", &other_key, &family_key]),
        4 => words(&[b"DEL", if dice.percent(80) { &other_key } else { &family_key }]),
        5 => script(dice, 4, &other_key, &[&value]),
        6 => script(dice, 5, &other_key, &[&value, format!("v{}", dice.clone().below(3)).as_bytes(), b"900000"]),
        7 => {
            let nothing_before: &[u8] = if dice.percent(50) { b"1" } else { b"0" };
            script(dice, 3, b"kb:epoch", &[b"", &[1; 17], &[9; 96], nothing_before])
        }
        8 => {
            let record = record::encode(&family(dice, now));
            words(&[b"SET", &family_key, &record, b"NX", b"GET", b"PX", b"900000"])
        }
        9 => script(dice, 1, &family_key, &[&[RevokeReason::Requested as u8], &now_ms.to_be_bytes()]),
        10 => {
            let record = record::encode(&family(dice, now));
            script(dice, 2, &family_key, &[&record, b"900000"])
        }
        _ => advance(dice, &family_key, now),
    }
}

/// By its digest, sometimes before the server knows it, or by its text.
fn script(dice: &mut Dice, index: usize, key: &[u8], args: &[&[u8]]) -> Vec<Vec<u8>> {
    let source = SCRIPTS[index];
    let digest = redis::Script::new(source).get_hash().to_owned();
    let (verb, text) = if dice.percent(10) { ("EVAL", source.to_owned()) } else { ("EVALSHA", digest) };
    let mut words = vec![verb.as_bytes().to_vec(), text.into_bytes(), b"1".to_vec(), key.to_vec()];
    words.extend(args.iter().map(|arg| arg.to_vec()));
    words
}

fn family(dice: &mut Dice, now: UnixTime) -> Family {
    let sample = if dice.percent(30) { sample::confidential_family(1) } else { sample::family(1) };
    let state = if dice.percent(15) { FamilyState::Revoked(RevokeReason::Reuse) } else { FamilyState::Live };
    let lives = if dice.percent(10) { now.minus(Duration::from_secs(5)) } else { now.plus(Duration::from_secs(500)) };
    Family {
        state,
        generation: Generation(u32::try_from(dice.below(4)).expect("small")),
        created: now.minus(Duration::from_secs(1000)),
        last_rotation: now.minus(Duration::from_secs(dice.below(120))),
        idle_expiry: lives,
        absolute_expiry: now.plus(Duration::from_secs(900)),
        clone_run: u8::try_from(dice.below(4)).expect("small"),
        clone_flag: dice.percent(30),
        ..sample
    }
}

fn advance(dice: &mut Dice, key: &[u8], now: UnixTime) -> Vec<Vec<u8>> {
    let sample = sample::family(1);
    let Binding::Key(held) = sample.binding else { panic!("the sample is bound to a key") };
    let presented = u32::try_from(dice.below(5)).expect("small");
    let client: &[u8] = if dice.percent(92) { sample.client_id.as_str().as_bytes() } else { b"another" };
    let authenticated: &[u8] = if dice.percent(70) { b"1" } else { b"0" };
    let jkt = if dice.percent(85) { held.as_bytes().to_vec() } else { vec![7; 32] };
    let rotate: &[u8] = if dice.percent(80) { b"1" } else { b"0" };
    let target = if dice.percent(10) { vec![8; 32] } else { Vec::new() };
    let deadline = now.plus(Duration::from_secs(dice.below(800)));
    let args: [&[u8]; 10] = [
        &presented.to_be_bytes(),
        client,
        authenticated,
        &jkt,
        rotate,
        &now.as_millis().to_be_bytes(),
        &deadline.as_millis().to_be_bytes(),
        b"60000",
        b"3162240000000",
        &target,
    ];
    script(dice, 0, key, &args)
}

/// The instant in an epoch record is the server's own.
fn without_time(request: &[Vec<u8>], reply: Reply) -> Reply {
    match reply {
        Reply::Bytes(mut record) if record.len() == 17 + 8 + 96 && request.get(3).is_some_and(|key| key == b"kb:epoch") => {
            if record[17..25] != [0xff; 8] {
                record[17..25].fill(0);
            }
            Reply::Bytes(record)
        }
        other => other,
    }
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::Okay => Reply::Ok,
        Value::Array(parts) => Reply::List(parts.into_iter().map(reply).collect()),
        Value::ServerError(error) if error.code() == "NOSCRIPT" => Reply::Error("NOSCRIPT No matching script. Please use EVAL."),
        other => panic!("an answer of another kind: {other:?}"),
    }
}

fn shape(reply: &Reply) -> String {
    match reply {
        Reply::Ok | Reply::Text(_) => "text".to_owned(),
        Reply::Int(number) => number.to_string(),
        Reply::Bytes(_) => "bytes".to_owned(),
        Reply::Nil => "nil".to_owned(),
        Reply::List(parts) => format!("[{}]", parts.iter().map(shape).collect::<Vec<_>>().join(", ")),
        Reply::Error(_) => "error".to_owned(),
    }
}
