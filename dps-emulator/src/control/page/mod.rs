//! The page: enrollments, registrations with their reasons, hubs, exchanges, faults and clock. It is rendered without a framework.

mod enrollments;
mod html;
mod hubs;
mod overview;
mod registrations;

use super::Control;
use super::reply::{self, Answer, Failure};
use super::request::Ask;
use html::{Html, html};

/// The number of entries on a page of a list.
const PAGE: usize = 50;

const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");

/// Answers `GET /`, the script, the style sheet and `GET /page/…`.
pub(super) async fn answer(control: &Control, ask: &Ask, path: &[&str]) -> Answer {
    let (title, content) = match path {
        [] => ("Overview", overview::render(control).await?),
        ["page.js"] => return reply::text("text/javascript; charset=utf-8", SCRIPT),
        ["page.css"] => return reply::text("text/css; charset=utf-8", STYLE),
        ["page", "enrollments"] => ("Enrollments", enrollments::individuals(control, ask).await?),
        ["page", "groups"] => (
            "Enrollment groups",
            enrollments::groups(control, ask).await?,
        ),
        ["page", "registrations"] => ("Registrations", registrations::render(control, ask).await?),
        ["page", "hubs"] => ("Hubs", hubs::list(control)),
        ["page", "hubs", hub] => ("Hub", hubs::devices(control, ask, hub).await?),
        ["page", "hubs", hub, device] => ("Device", hubs::device(control, hub, device).await?),
        _ => return Err(Failure::not_found("there is no such page")),
    };
    let document = document(control, title, path, content);
    reply::text("text/html; charset=utf-8", document.into_string())
}

/// The whole document, with the navigation.
fn document(control: &Control, title: &str, path: &[&str], content: Html) -> Html {
    const PLACES: [(&str, &str); 5] = [
        ("/", "Overview"),
        ("/page/groups", "Groups"),
        ("/page/enrollments", "Enrollments"),
        ("/page/registrations", "Registrations"),
        ("/page/hubs", "Hubs"),
    ];
    let own = format!("/{}", path.join("/"));
    let mut page = Html::new();
    page.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">");
    html!(page, "<title>", title, " · dps-emulator</title>");
    page.raw("<link rel=\"stylesheet\" href=\"/page.css\"><script src=\"/page.js\" defer></script></head><body><a class=\"skip\" href=\"#content\">Skip to the content</a><header><strong>dps-emulator</strong><nav aria-label=\"Pages\">");
    for (href, name) in PLACES {
        let current = own == href || (href != "/" && own.starts_with(href));
        let mark = if current {
            " aria-current=\"page\""
        } else {
            ""
        };
        html!(page, "<a href=\"", href, "\"");
        page.raw(mark);
        html!(page, ">", name, "</a>");
    }
    page.raw("</nav>");
    let instance = &control.gateway.instance;
    html!(
        page,
        "<span class=\"scope\">id scope <code>",
        instance.id_scope,
        "</code></span></header><main id=\"content\"><h1>",
        title,
        "</h1><p id=\"message\" role=\"status\" aria-live=\"polite\"></p>"
    );
    page.append(content);
    page.raw("</main></body></html>");
    page
}

/// The link to the next page of a list.
fn next_page(page: &mut Html, path: &str, after: Option<&str>) {
    if let Some(after) = after {
        let after = dps_types::protocol::encode(after);
        html!(
            page,
            "<p><a rel=\"next\" href=\"",
            path,
            "?after=",
            after,
            "\">Next page</a></p>"
        );
    }
}
