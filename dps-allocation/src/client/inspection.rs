//! Explains how DPS interprets a webhook's answer, with remarks for the author of the webhook.

use std::fmt;
use std::time::{Duration, Instant};

use dps_types::AllocationRequest;

use super::WebhookClient;
use super::caller::Answer;
use crate::webhook::is_json;
use crate::{Error, Outcome, Rejection, answer, webhook_url};

/// The answer of a webhook to one request, and how DPS interprets it. Display prints it as text.
#[derive(Debug)]
pub struct Inspection {
    webhook: String,
    elapsed: Duration,
    status: Option<u16>,
    bytes: Option<usize>,
    outcome: Outcome,
    remarks: Vec<String>,
}

impl WebhookClient {
    /// Calls the webhook at this URL once, as DPS does, and explains the outcome.
    ///
    /// # Errors
    ///
    /// As [`caller`](Self::caller). A webhook that cannot be reached is an outcome, not an error.
    pub async fn inspect(
        &self,
        url: &str,
        request: &AllocationRequest,
    ) -> Result<Inspection, Error> {
        let caller = self.caller(url)?;
        let start = Instant::now();
        let answer = caller.call(request).await;
        Ok(Inspection::new(url, request, start.elapsed(), answer))
    }
}

impl Inspection {
    /// Returns the outcome for the device.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Returns the duration of the call, including the time to connect.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the HTTP status, if the webhook answered.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns remarks for the author of the webhook. There may be some even if the device is assigned.
    pub fn remarks(&self) -> impl Iterator<Item = &str> {
        self.remarks.iter().map(String::as_str)
    }

    fn new(
        url: &str,
        request: &AllocationRequest,
        elapsed: Duration,
        answer: Result<Answer, Rejection>,
    ) -> Self {
        let mut remarks = Remarks::default();
        remarks.on_url(url);
        remarks.on_time(elapsed);
        let (status, bytes, outcome) = match answer {
            Ok(answer) => {
                let outcome = Outcome::read(answer.status, &answer.body, request);
                remarks.on_answer(&answer, &outcome);
                (Some(answer.status), Some(answer.body.len()), outcome)
            }
            Err(rejection) => (None, None, Err(rejection).into()),
        };
        Self {
            webhook: webhook_url::mask(url),
            elapsed,
            status,
            bytes,
            outcome,
            remarks: remarks.0,
        }
    }
}

#[derive(Default)]
struct Remarks(Vec<String>);

impl Remarks {
    fn on_url(&mut self, url: &str) {
        if !url.trim_start().to_ascii_lowercase().starts_with("https:") {
            self.add("DPS calls only https URLs that are reachable from the internet.");
        }
    }

    fn on_time(&mut self, elapsed: Duration) {
        if elapsed > SLOW {
            self.add(format!(
                "The call took {elapsed:.1?}. The device waits for it, and DPS is assumed to give up after {:?}.",
                WebhookClient::DEFAULT_TOTAL_TIMEOUT
            ));
        }
    }

    fn on_answer(&mut self, answer: &Answer, outcome: &Outcome) {
        match answer.status {
            200 => {}
            201..=299 => {
                self.add("DPS accepts only status 200: any other status fails the registration.");
            }
            300..=399 => {
                self.add("DPS is not known to follow redirects. Put the final URL into the enrollment.");
            }
            401 | 403 => self.add("Check the function key in the URL: ?code=..."),
            404 => self.add(
                "Check the path of the URL. An Azure Function is at /api/NAME, with its route prefix.",
            ),
            _ => {}
        }
        if answer.status == 200 && !answer.content_type.as_deref().is_some_and(is_json) {
            self.add("The Content-Type of the answer is not application/json in UTF-8.");
        }
        if answer.status != 200 && is_html(&answer.body) {
            self.add(
                "The body is an HTML page, so another server may have answered: a proxy, a login page, \
                 or an error page of the platform.",
            );
        }
        if answer.body.len() > answer::MAX_BYTES / 2 {
            self.add(format!(
                "The answer has {} bytes. DPS accepts messages of up to {}, and sends the payload to the device.",
                answer.body.len(),
                answer::MAX_BYTES
            ));
        }
        self.on_response(outcome);
    }

    fn on_response(&mut self, outcome: &Outcome) {
        let Some(response) = outcome.response() else {
            return;
        };
        let unknown: Vec<&str> = response.extra.keys().map(String::as_str).collect();
        if !unknown.is_empty() {
            self.add(format!(
                "DPS ignores {}. The members of an answer are iotHubHostName, initialTwin and payload.",
                unknown.join(", ")
            ));
        }
    }

    fn add(&mut self, remark: impl Into<String>) {
        self.0.push(remark.into());
    }
}

fn is_html(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('<')
}

/// The report remarks on a call that takes longer.
const SLOW: Duration = Duration::from_secs(5);

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.webhook)?;
        match (self.status, self.bytes) {
            (Some(status), Some(bytes)) => write!(f, "{status}, {bytes} bytes")?,
            _ => f.write_str("no answer")?,
        }
        writeln!(f, " in {:.1?}", self.elapsed)?;
        write!(f, "The device {}.", self.outcome)?;
        for remark in &self.remarks {
            write!(f, "\n- {remark}")?;
        }
        Ok(())
    }
}
