//! What DPS would make of a webhook, with hints for whoever runs it.

use std::fmt;
use std::time::{Duration, Instant};

use dps_types::AllocationRequest;

use super::WebhookClient;
use super::caller::Answer;
use crate::{Error, Outcome, Rejection, answer, masked_url};

/// What a webhook answered to one request, and what DPS would make of it. Display prints it for people.
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
    /// Asks the webhook at this URL as DPS does, once, and explains the outcome.
    ///
    /// # Errors
    ///
    /// As [`caller`](Self::caller): when the URL is none. A webhook that cannot be reached is an outcome.
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
    /// What becomes of the device.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// How long the webhook took, the connection included.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The HTTP status, when there was an answer.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// What whoever runs the webhook should look at, though the outcome may be good.
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
            webhook: masked_url(url),
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
            self.add("DPS calls webhooks over https only, and from the internet.");
        }
    }

    fn on_time(&mut self, elapsed: Duration) {
        if elapsed > SLOW {
            self.add(format!(
                "It took {elapsed:.1?}. The device waits as long, and DPS is taken to give up after {:?}.",
                WebhookClient::DEFAULT_TOTAL_TIMEOUT
            ));
        }
    }

    fn on_answer(&mut self, answer: &Answer, outcome: &Outcome) {
        match answer.status {
            200 => {}
            201..=299 => self.add("DPS takes 200 only: any other status fails the registration."),
            300..=399 => {
                self.add(
                    "DPS is not known to follow redirects. Give the enrollment the final URL.",
                );
            }
            401 | 403 => self.add("Is the function key in the URL, as ?code=...?"),
            404 => self.add(
                "Is the path right? An Azure Function is at /api/NAME, with its route prefix.",
            ),
            _ => {}
        }
        let json = |text: &str| text.to_ascii_lowercase().contains("json");
        if answer.status == 200 && !answer.content_type.as_deref().is_some_and(json) {
            self.add("The answer's Content-Type is not application/json.");
        }
        if answer.body.len() > answer::LIMIT / 2 {
            self.add(format!(
                "The answer has {} bytes. DPS takes messages of up to {}, and the payload goes on to the device.",
                answer.body.len(),
                answer::LIMIT
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
                "DPS ignores {}. It knows iotHubHostName, initialTwin and payload.",
                unknown.join(", ")
            ));
        }
    }

    fn add(&mut self, remark: impl Into<String>) {
        self.0.push(remark.into());
    }
}

/// From here on a webhook is remarked on as slow.
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
