//! One request and its response, with the faults in between.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, header};

use crate::drive::content::{Content, Receiving};
use crate::drive::{content_host, odd};
use crate::faults::{FaultAction, HoldAt, Plan};
use crate::journal::Arrival;
use crate::kinds::RequestKind;
use crate::state::Shared;
use crate::transport::body::{Cut, InFlight, ResponseBody};
use crate::transport::message::{Message, Response};
use crate::transport::proxy::Connection;

/// Receives a request, performs it, and returns the response.
pub(crate) async fn exchange(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    host: Arc<str>,
    request: Request<Incoming>,
) -> Result<hyper::Response<ResponseBody>, Cut> {
    let (parts, body) = request.into_parts();
    let kind = RequestKind::of(&host, &parts.method, parts.uri.path());
    let number = shared.lock().journal.arrive(&Arrival {
        kind,
        method: parts.method.as_str(),
        host: &host,
        path: parts.uri.path(),
        range: parts.headers.get(header::RANGE).and_then(|value| value.to_str().ok()),
    });
    let in_flight =
        InFlight { shared: Arc::clone(&shared), connection: Arc::clone(&connection), number, kind, bytes_out: 0 };
    shared.notify();

    let body = received(body).await?;
    let message = Message::new(kind, &host, &parts, body);
    let (plan, throttled, latency, free) = {
        let mut state = shared.lock();
        let subjects = state.subjects(&message);
        let plan = state.faults.decide(kind, &subjects);
        state.journal.received(number, kind, message.body.size(), subjects);
        if let Some(action) = &plan.action {
            state.journal.spoiled(number, format!("{action:?}"));
        }
        let throttled = state.throttle(kind).err();
        (plan, throttled, state.latency(&message), state.open_write(number, &message))
    };
    if latency > Duration::ZERO && throttled.is_none() {
        tokio::time::sleep(latency).await;
    }
    wait_at_gates(&shared, &plan, HoldAt::Arrival).await;

    let response = match throttled.map_or_else(|| instead_of_effect(&plan), Instead::Response) {
        Instead::Response(response) => response,
        Instead::Reset => return Err(connection.reset().await),
        Instead::ResetStream => return Err(Cut),
        Instead::Stall => return std::future::pending().await,
        Instead::Nothing if !free => Response::cloudkit_error(
            409,
            "ZONE_BUSY",
            "Sync zone CAS Op-Lock failed. There was a concurrent write and this operation was rejected. Retry request...",
        ),
        Instead::Nothing => performed(&shared, &connection, &message, &plan).await?,
    };
    shared.lock().journal.responded(number, response.status.as_u16());
    let mut builder = hyper::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        builder = builder.header(name, value);
    }
    builder.body(ResponseBody::new(response.payload, in_flight, &plan)).map_err(|_| Cut)
}

/// Performs a request, and returns the response as the faults change it.
async fn performed(shared: &Shared, connection: &Connection, message: &Message, plan: &Plan) -> Result<Response, Cut> {
    let posted = if message.kind == RequestKind::ContentPost { content_host::posted_file(message).await } else { None };
    let response = shared.lock().respond(message, posted);
    wait_at_gates(shared, plan, HoldAt::Answer).await;
    match &plan.action {
        Some(FaultAction::ResetAfter) => Err(connection.reset().await),
        Some(FaultAction::Stall { at: HoldAt::Answer }) => std::future::pending().await,
        Some(FaultAction::OddListing { folder, odd }) => {
            let Ok(mut listings) = response.to_json() else { return Ok(response) };
            odd::spoil(&shared.lock().drive.tree, &mut listings, folder.as_deref(), odd);
            Ok(Response::json(response.status.as_u16(), &listings))
        }
        Some(FaultAction::Replace { text, .. }) => {
            Ok(Response::new(200, "application/json; charset=UTF-8", text.clone()))
        }
        _ => Ok(response),
    }
}

async fn received(mut body: Incoming) -> Result<Content, Cut> {
    let mut receiving = Receiving::default();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Cut)?.into_data() {
            receiving.add(&data).map_err(|_| Cut)?;
        }
    }
    Ok(receiving.finish())
}

/// The outcome of a fault that takes the place of the effect of a request.
enum Instead {
    Nothing,
    Response(Response),
    Reset,
    ResetStream,
    Stall,
}

fn instead_of_effect(plan: &Plan) -> Instead {
    match &plan.action {
        Some(FaultAction::Status { status, body, headers }) => {
            let mut response = Response::new(*status, "application/json; charset=UTF-8", body.clone());
            for (name, value) in headers {
                response = response.with_header(name, value.clone());
            }
            Instead::Response(response)
        }
        Some(FaultAction::HtmlPage { status }) => Instead::Response(Response::new(
            *status,
            "text/html; charset=UTF-8",
            "<!DOCTYPE html><html><head><title>iCloud</title></head><body>Service temporarily unavailable</body></html>",
        )),
        Some(FaultAction::Replace { text, effect: false }) => {
            Instead::Response(Response::new(200, "application/json; charset=UTF-8", text.clone()))
        }
        Some(FaultAction::Stall { at: HoldAt::Arrival }) => Instead::Stall,
        Some(FaultAction::ResetBefore) => Instead::Reset,
        Some(FaultAction::ResetStream) => Instead::ResetStream,
        _ => Instead::Nothing,
    }
}

async fn wait_at_gates(shared: &Shared, plan: &Plan, place: HoldAt) {
    for (gate, at) in &plan.holds {
        if *at == place {
            shared.until(|state| state.open_gates.contains(gate)).await;
        }
    }
}
