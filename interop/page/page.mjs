// The page of the emulator in Chromium: what it shows, what it changes, hostile values, keyboard, 100,000 enrollments.
//
// usage: node page.mjs PROGRAM [SCREENSHOTS]    PROGRAM is dps-emulator; SCREENSHOTS is a directory for pictures
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [program, screenshots] = process.argv.slice(2);
const HOSTILE = `</pre></textarea><script>window.hacked=1</script><img src=x onerror="window.hacked=2">'"&`;
const GROUP_KEY = "ZHBzLWVtdWxhdG9yLXdlbGwta25vd24tZ3JvdXAta2V5";

async function start() {
    const free = ["--https-port", "0", "--mqtt-port", "0", "--insecure-http-port", "0", "--control-port", "0"];
    const child = spawn(program, ["--ephemeral", "--well-known", "--retry-after", "0", ...free], {
        stdio: ["ignore", "pipe", "ignore"],
    });
    const lines = createInterface({ input: child.stdout });
    const ready = await new Promise((resolve, reject) => {
        lines.once("line", (line) => resolve(JSON.parse(line)));
        child.once("exit", (code) => reject(new Error(`${program} ended with ${code}`)));
    });
    return { child, ready };
}

const hmac = (key, text) => createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");

// Registers a device over plain HTTP, and returns the status of the first answer.
async function register(ready, id, groupKey) {
    const resource = encodeURIComponent(`${ready.idScope}/registrations/${id}`);
    const expiry = Math.floor(Date.now() / 1000) + 1800;
    const signature = encodeURIComponent(hmac(hmac(groupKey, id), `${resource}\n${expiry}`));
    const token = `SharedAccessSignature sr=${resource}&sig=${signature}&se=${expiry}&skn=registration`;
    const url = `${ready.insecureHttp}/${ready.idScope}/registrations/${encodeURIComponent(id)}`;
    const headers = { Authorization: token, "Content-Type": "application/json" };
    const body = JSON.stringify({ registrationId: id, payload: { hostile: HOSTILE } });
    const answer = await fetch(`${url}/register?api-version=2021-06-01`, { method: "PUT", headers, body });
    if (answer.status !== 202) return answer.status;
    const { operationId } = await answer.json();
    for (;;) {
        const poll = await fetch(`${url}/operations/${operationId}?api-version=2021-06-01`, { headers });
        const { status } = await poll.json();
        if (status === "assigned") return 202;
        assert.equal(status, "assigning");
    }
}

async function put(control, path, body, method = "PUT") {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(control + path, { method, headers, body: JSON.stringify(body) });
    assert.ok(answer.ok, `${path}: ${answer.status} ${await answer.text()}`);
}

const { child, ready } = await start();
const control = ready.control;
const profile = await mkdtemp(join(tmpdir(), "dps-page-"));
const context = await chromium.launchPersistentContext(profile, {
    executablePath: "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"],
    viewport: { width: 1280, height: 900 },
});
try {
    const page = await context.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (entry) => entry.type() === "error" && problems.push(entry.text()));
    page.on("dialog", (dialog) => dialog.accept());
    page.on("request", (request) => request.url().startsWith(control) || problems.push(`loads ${request.url()}`));
    const picture = async (name) => {
        if (!screenshots) return;
        for (const colorScheme of ["light", "dark"]) {
            await page.emulateMedia({ colorScheme });
            await page.screenshot({ path: join(screenshots, `${name}-${colorScheme}.png`), fullPage: true });
        }
    };
    const open = (path) => page.goto(control + path);
    const reloaded = (action) => Promise.all([page.waitForEvent("load"), action()]);

    // A group is created with the keyboard, and a key is derived.
    await open("/page/groups");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    await page.getByLabel("Group id").first().focus();
    await page.keyboard.type("line-1");
    await reloaded(() => page.keyboard.press("Enter"));
    await page.getByRole("cell", { name: "line-1", exact: true }).waitFor();
    const derive = page.locator("form[data-show]");
    await derive.getByLabel("Group id").fill("well-known");
    await derive.getByLabel("Registration id").fill("dev-1");
    await derive.getByRole("button").click();
    await derive.locator("output").filter({ hasText: hmac(GROUP_KEY, "dev-1") }).waitFor();
    await picture("groups");

    // Exchanges appear by themselves, with the reason of a refusal.
    await open("/");
    assert.equal(await register(ready, "dev-1", GROUP_KEY), 202);
    await page.locator("#live tr[data-outcome=assigned]").first().waitFor();
    assert.equal(await register(ready, "dev-2", "d3Jvbmcga2V5IHdyb25nIGtleSB3cm9uZyBrZXkgIQ=="), 401);
    const refused = page.locator("#live tr[data-outcome=refused]").first();
    await refused.waitFor();
    assert.match(await refused.locator("td").last().innerText(), /enrollment group/);

    // Hostile values of devices and operators are shown as text.
    await fetch(`${ready.insecureHttp}/${ready.idScope}/registrations/${encodeURIComponent(HOSTILE)}/register?api-version=2021-06-01`, { method: "PUT" });
    await fetch(`${ready.insecureHttp}/enrollments/${encodeURIComponent(HOSTILE)}?api-version=${encodeURIComponent(HOSTILE)}`);
    await page.locator("#live tr", { hasText: "GET /enrollments/" }).first().waitFor();
    await put(control, "/hubs/127.0.0.1/devices/dev-1/twin",
        { tags: { tag: HOSTILE }, properties: { desired: { mode: HOSTILE } } }, "PATCH");
    await put(control, "/faults", { step: "poll", effect: "drop", device: HOSTILE }, "POST");
    for (const path of ["/", "/page/registrations", "/page/hubs/127.0.0.1", "/page/hubs/127.0.0.1/dev-1"]) {
        await open(path);
        await page.locator("main h1").waitFor();
        assert.equal(await page.evaluate(() => window.hacked), undefined, path);
        assert.equal(await page.locator("main script, main img").count(), 0, path);
    }
    const twin = page.locator("pre").first();
    assert.equal(JSON.parse(await twin.innerText()).tags.tag, HOSTILE);
    await open("/page/hubs/127.0.0.1/none");
    assert.match(await page.locator("body").innerText(), /error/);
    problems.length = 0;

    // The twin is changed.
    await open("/page/hubs/127.0.0.1/dev-1");
    const patch = { tags: { tag: null }, properties: { desired: { mode: "eco" } } };
    await page.getByLabel(/Change of the twin/).fill(JSON.stringify(patch));
    await reloaded(() => page.getByRole("button", { name: "Change the twin" }).click());
    assert.equal(JSON.parse(await twin.innerText()).properties.desired.mode, "eco");
    await picture("device");
    await page.getByLabel(/Change of the twin/).fill("{");
    await page.getByRole("button", { name: "Change the twin" }).click();
    await page.locator("#message[data-error=true]").waitFor();

    // A message waits for the device. A method reaches no device, because none is connected.
    await open("/page/hubs/127.0.0.1/dev-1");
    await page.getByText("Messages in the queue: 0.").waitFor();
    await reloaded(() => page.getByRole("button", { name: "Send the message" }).click());
    await page.getByText("Messages in the queue: 1.").waitFor();
    await page.getByRole("button", { name: "Invoke the method" }).click();
    await page.locator("#message[data-error=true]").waitFor();
    problems.length = 0;

    // A fault, the clock, a registration that is deleted, a group that is disabled.
    await open("/");
    await page.getByLabel("Effect").selectOption("throttle");
    await page.getByLabel("Device").fill("dev-3");
    await page.getByLabel("Retry-After").fill("7");
    await reloaded(() => page.getByRole("button", { name: "Add a fault" }).click());
    assert.equal(await register(ready, "dev-3", GROUP_KEY), 429);
    await reloaded(() => page.getByRole("button", { name: "Remove" }).first().click());
    await page.getByText("There are no faults.").waitFor();
    await page.getByLabel("Effect").selectOption("tlsAlert");
    await page.getByRole("button", { name: "Add a fault" }).click();
    await page.locator("#message", { hasText: "does not apply" }).waitFor();
    problems.length = 0;
    await reloaded(() => page.getByRole("button", { name: "Advance" }).click());
    const clock = await (await fetch(`${control}/clock`)).json();
    assert.equal(clock.offsetSeconds, 3600);
    await picture("overview");
    await open("/page/registrations");
    await page.getByText("initialAssignment").waitFor();
    await picture("registrations");
    await reloaded(() => page.getByRole("button", { name: "Delete" }).first().click());
    await page.getByText("There are no registrations here.").waitFor();
    await open("/page/groups");
    const row = page.getByRole("row", { name: /well-known/ });
    await reloaded(() => row.getByRole("button", { name: "Disable" }).click());
    await row.getByRole("cell", { name: "disabled", exact: true }).waitFor();
    await reloaded(() => row.getByRole("button", { name: "Enable" }).click());
    assert.equal(await register(ready, "dev-4", GROUP_KEY), 401, "the clock is an hour ahead");

    // 100,000 enrollments are shown in pages.
    const individuals = {};
    for (let number = 0; number < 100_000; number += 1) {
        const id = `dev-${String(number).padStart(6, "0")}`;
        individuals[id] = { registrationId: id, attestation: { type: "tpm", tpm: { endorsementKey: "AA==" } } };
    }
    await put(control, "/state", { version: 1, tables: { individuals } });
    await open("/page/enrollments");
    assert.equal(await page.locator("tbody tr").count(), 50);
    await page.getByRole("link", { name: "Next page" }).click();
    await page.getByRole("cell", { name: "dev-000050", exact: true }).waitFor();
    await picture("enrollments");

    // Reset.
    await open("/");
    await page.getByText("100000 individual enrollments").waitFor();
    await reloaded(() => page.getByRole("button", { name: "Reset everything" }).click());
    await page.getByText("1 enrollment groups").waitFor();
    await page.getByText("0 individual enrollments").waitFor();
    assert.deepEqual(problems, []);
    console.log("the page: ok");
} finally {
    await context.close();
    child.kill("SIGTERM");
    await rm(profile, { recursive: true, force: true });
}
