// The page's only script: sends the forms and buttons to the control endpoint, and shows exchanges as they happen.
"use strict";

const message = document.getElementById("message");

function report(text, isError) {
    message.textContent = text;
    message.dataset.error = isError ? "true" : "false";
    if (isError) message.scrollIntoView({ block: "nearest" });
}

// Sends a request, and throws an error with the reason unless it succeeds.
async function send(method, path, body, headers = {}) {
    const options = { method, headers };
    if (body !== undefined) {
        options.body = JSON.stringify(body);
        headers["Content-Type"] = "application/json";
    }
    const response = await fetch(path, options);
    const text = await response.text();
    let document = null;
    try {
        document = text ? JSON.parse(text) : null;
    } catch {
        document = null;
    }
    if (!response.ok) {
        throw new Error((document && (document.error || document.message)) || `status ${response.status}`);
    }
    return document;
}

// The fields of a form that are filled in, as a document.
function fields(form) {
    const document = {};
    for (const field of form.elements) {
        if (!field.name || field.value === "") continue;
        document[field.name] = field.type === "number" ? Number(field.value) : field.value;
    }
    return document;
}

async function act(element) {
    const [method, ...rest] = element.dataset.api.split(" ");
    let path = rest.join(" ");
    let body;
    const headers = {};
    if (element.tagName === "FORM") {
        body = element.dataset.json ? JSON.parse(element.elements[element.dataset.json].value) : fields(element);
        path = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(body[name]));
        if ("attestation" in element.dataset) {
            const keys = body.primaryKey ? { primaryKey: body.primaryKey } : {};
            delete body.primaryKey;
            body.attestation = { type: "symmetricKey", symmetricKey: keys };
        }
    } else if (element.dataset.change) {
        // The answer has no keys: the emulator keeps those that the document leaves out.
        body = await send("GET", path);
        body[element.dataset.change] = element.dataset.value;
        headers["If-Match"] = "*";
    } else if (element.dataset.body) {
        body = JSON.parse(element.dataset.body);
    }
    const result = await send(method, path, body, headers);
    if (element.dataset.show) {
        element.querySelector("output").textContent = result[element.dataset.show];
        return;
    }
    location.reload();
}

function run(event, element) {
    event.preventDefault();
    if (element.dataset.confirm && !confirm(element.dataset.confirm)) return;
    act(element).catch((error) => report(error.message, true));
}

document.addEventListener("submit", (event) => {
    if (event.target.dataset.api) run(event, event.target);
});
document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-api]");
    if (button) run(event, button);
});

const rows = document.querySelector("#live tbody");
if (rows) {
    const pause = document.getElementById("pause");
    let waiting = [];
    const add = (exchange) => {
        const row = document.createElement("tr");
        row.dataset.outcome = exchange.outcome;
        const { time, device, request, transport, status, outcome, reason } = exchange;
        for (const value of [time, device, request, transport, status, outcome, reason]) {
            row.insertCell().textContent = value ?? "";
        }
        rows.prepend(row);
        while (rows.rows.length > 200) rows.lastElementChild.remove();
    };
    pause.addEventListener("click", () => {
        const paused = pause.getAttribute("aria-pressed") !== "true";
        pause.setAttribute("aria-pressed", String(paused));
        pause.textContent = paused ? "Continue" : "Pause";
        if (!paused) waiting.splice(0).forEach(add);
    });
    const stream = new EventSource("/exchanges/stream");
    stream.onmessage = (event) => {
        const exchange = JSON.parse(event.data);
        if (pause.getAttribute("aria-pressed") === "true") waiting = [...waiting, exchange].slice(-200);
        else add(exchange);
    };
    window.addEventListener("pagehide", () => stream.close());
}
