import type { Page, Route } from "playwright-core";
import { beforeAll, expect, test } from "vitest";
import { complaints, done, drawn, list, makeData, page, push, row, useBrowser } from "./world";

useBrowser();
beforeAll(makeData);

const view = "/explore?q=e2e&e=e2e-01&e=e2e-02&c=cpu.busy&c=net.if.in.bits/iface=eth0";
const cpu = 'article[data-key="c:cpu.busy"]';
const net = 'article[data-key="c:net.if.in.bits/iface=eth0"]';
const chosen = (p: Page, which: "endpoint" | "counter") => p.locator(`#${which}-list [aria-selected=true]`).evaluateAll((all) => all.map((e) => e.getAttribute("data-name")));
const params = (p: Page, name: string) => new URL(p.url()).searchParams.getAll(name);

/** Holds requests for points back until they are let go. */
async function hold(p: Page): Promise<{ count(): number; release(): Promise<void> }> {
  const held: Route[] = [];
  let seen = 0;
  await p.route("**/api/v1/graph/history", (r) => {
    seen++;
    held.push(r);
  });
  return {
    count: () => seen,
    release: async () => {
      await p.unroute("**/api/v1/graph/history");
      for (const r of held) await r.continue().catch(() => {}); // some were given up by the page
    },
  };
}

test("from a search to a chart by mouse", async () => {
  const p = await page();
  await p.goto("/");
  await p.waitForURL("**/explore");
  await p.getByLabel("web bj -canary").fill("e2e -0[5-9]");
  await p.getByText(/^7 of \d+ endpoints$/).waitFor();
  expect(await list(p, "endpoint").count()).toBe(7);

  // A click, then a range with Shift, then one less with Ctrl.
  await row(p, "endpoint", "e2e-01").click();
  await row(p, "endpoint", "e2e-04").click({ modifiers: ["Shift"] });
  expect(await chosen(p, "endpoint")).toEqual(["e2e-01", "e2e-02", "e2e-03", "e2e-04"]);
  await row(p, "endpoint", "e2e-03").click({ modifiers: ["Control"] });
  expect(params(p, "e")).toEqual(["e2e-01", "e2e-02", "e2e-04"]);

  await p.getByText("4 counters · 3 endpoints").waitFor();
  await p.getByLabel("Filter counters").fill("cpu|net");
  await p.getByText("2 counters · 3 endpoints").waitFor();
  await row(p, "counter", "cpu.busy").click();
  await drawn(p, cpu);
  expect(await p.locator(cpu + " tbody tr").count()).toBe(3);
  expect(await p.locator(cpu + " .facts").textContent()).toBe("% · 60\u202fs");
  await p.getByText(/newest point \d+[sm] ago/).waitFor();

  // Everything that matches, then nothing.
  await p.getByRole("region", { name: "Counters" }).getByText("select all").click();
  await drawn(p, net);
  expect(params(p, "c")).toEqual(["cpu.busy", "net.if.in.bits/iface=eth0"]);
  await p.getByRole("region", { name: "Endpoints" }).getByText("clear").click();
  await p.getByText("Choose endpoints first.").waitFor();
  expect(await p.locator("article").count()).toBe(0);
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});

test("the same by keys alone", async () => {
  const p = await page();
  await p.goto("/explore?q=e2e");
  await row(p, "endpoint", "e2e-01").waitFor();
  await p.getByLabel("web bj -canary").focus();
  await p.keyboard.press("ArrowDown"); // into the list
  await p.keyboard.press("Enter");
  await p.keyboard.press("Shift+ArrowDown");
  await p.keyboard.press("Shift+ArrowDown");
  await p.waitForFunction(() => document.querySelectorAll("#endpoint-list [aria-selected=true]").length === 3);
  expect(params(p, "e")).toEqual(["e2e-01", "e2e-02", "e2e-03"]);
  await p.keyboard.press("ArrowDown");
  await p.keyboard.press("ArrowDown");
  await p.keyboard.press("Space");
  expect(params(p, "e")).toEqual(["e2e-01", "e2e-02", "e2e-03", "e2e-05"]);
  await p.keyboard.press("Control+a");
  await p.waitForFunction(() => document.querySelectorAll("#endpoint-list [aria-selected=true]").length === 12);
  await p.keyboard.press("End");
  expect(await p.locator("#endpoint-list").getAttribute("aria-activedescendant")).toBe("endpoint-list-11");
  await p.keyboard.press("Escape");
  await p.waitForFunction(() => document.querySelectorAll("#endpoint-list [aria-selected=true]").length === 0);
  await done(p);
});

test("a pasted list of hosts is chosen, and what is unknown is named", async () => {
  const p = await page();
  await p.goto("/explore");
  await row(p, "endpoint", "e2e-01").waitFor();
  await p.getByLabel("web bj -canary").focus();
  await p.evaluate(() => {
    const data = new DataTransfer();
    data.setData("text", "e2e-03\ne2e-07\nnot-there\n");
    document.activeElement?.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  });
  await p.getByText("Unknown: not-there").waitFor();
  expect(params(p, "e")).toEqual(["e2e-03", "e2e-07"]);
  await done(p);
});

test("a view comes back from its URL, and the back button walks through views", async () => {
  const p = await page();
  await p.goto(view + "&r=6h&by=host&cf=MAX&live=0");
  const host = 'article[data-key="h:e2e-01"]';
  await drawn(p, host);
  await p.reload();
  await drawn(p, host);
  const pressed = () => p.locator(".toolbar [aria-pressed=true]").allTextContents();
  expect(await pressed()).toEqual(["6h", "by host", "MAX"]);
  await p.getByRole("button", { name: "by counter" }).click();
  await drawn(p, cpu);
  await p.getByRole("button", { name: "1h" }).click();
  await p.waitForURL((u) => !u.search.includes("r=6h"));
  await p.goBack();
  expect(await pressed()).toEqual(["6h", "by counter", "MAX"]);
  await p.goBack();
  expect(await pressed()).toEqual(["6h", "by host", "MAX"]);
  await p.goForward();
  await drawn(p, cpu);
  await p.getByRole("button", { name: "all in one" }).click();
  await drawn(p, 'article[data-key="a"]');
  expect(await p.locator("article tbody tr").count()).toBe(4);
  await done(p);
});

test("r refreshes all charts with one request; the old ones stay until the answer is there", async () => {
  const p = await page();
  await p.goto(view + "&live=0");
  await drawn(p, cpu);
  await drawn(p, net);
  await p.locator(cpu + " canvas").evaluate((c) => c.setAttribute("data-mine", "1"));
  const held = await hold(p);
  await p.keyboard.press("r");
  await p.locator(cpu + " .bar.on").waitFor({ state: "attached" });
  await p.locator(net + " .bar.on").waitFor({ state: "attached" });
  await drawn(p, cpu);
  expect(held.count()).toBe(1);
  await p.keyboard.press("r"); // overtakes the first, which is given up
  await expect.poll(held.count).toBe(2);
  await held.release();
  await p.waitForFunction(() => document.querySelector("article .bar.on") === null);
  await drawn(p, cpu);
  expect(await p.locator(cpu + " canvas").getAttribute("data-mine"), "the chart was made anew").toBe("1");
  await done(p);
});

test("one chart is refreshed alone", async () => {
  const p = await page();
  await p.goto(view + "&live=0");
  await drawn(p, cpu);
  const asked = p.waitForRequest("**/api/v1/graph/history");
  const held = await hold(p);
  await p.locator(cpu).getByRole("button", { name: "Refresh this chart: cpu.busy" }).click();
  expect((await asked).postDataJSON()).toMatchObject({ counters: ["cpu.busy"], hostnames: ["e2e-01", "e2e-02"] });
  await p.locator(cpu + " .bar.on").waitFor({ state: "attached" });
  expect(await p.locator(net + " .bar.on").count()).toBe(0);
  await held.release();
  await p.waitForFunction(() => document.querySelector("article .bar.on") === null);
  await drawn(p, cpu);
  await done(p);
});

test("new points come by themselves while the range ends now", async () => {
  const p = await page();
  await p.goto(view);
  await drawn(p, cpu);
  const asked = await p.waitForRequest("**/api/v1/graph/history");
  const { start_time: from, end_time: to } = asked.postDataJSON() as { start_time: number; end_time: number };
  expect(to - from, "only the tail is asked for").toBeLessThan(3600);
  await p.getByRole("button", { name: "live" }).click();
  expect(new URL(p.url()).searchParams.get("live")).toBe("0");
  await done(p);
});

test("dragging zooms in, back zooms out", async () => {
  const p = await page();
  await p.goto(view);
  await drawn(p, cpu);
  const box = await p.locator(cpu + " .u-over").boundingBox();
  if (!box) throw new Error("the chart has no box");
  await p.mouse.move(box.x + box.width * 0.4, box.y + 40);
  await p.mouse.down();
  await p.mouse.move(box.x + box.width * 0.6, box.y + 60, { steps: 5 });
  await p.mouse.up();
  await p.waitForURL(/from=\d+&to=\d+/);
  const from = Number(params(p, "from")[0]);
  const to = Number(params(p, "to")[0]);
  expect(to - from).toBeGreaterThan(600);
  expect(to - from).toBeLessThan(840);
  await drawn(p, cpu);
  expect(await p.getByRole("button", { name: "live" }).count()).toBe(0);
  await p.getByRole("button", { name: "Back to the last 1h" }).click();
  await p.waitForURL((u) => !u.search.includes("from="));
  await p.goBack();
  await p.waitForURL(/from=/);
  await done(p);
});

test("the crosshair is in all charts, and the legend says its values", async () => {
  const p = await page();
  await p.goto(view + "&live=0");
  await drawn(p, net);
  await drawn(p, cpu);
  const box = await p.locator(cpu + " .u-over").boundingBox();
  if (!box) throw new Error("the chart has no box");
  await p.mouse.move(box.x + box.width / 2, box.y + 50);
  for (const card of [cpu, net]) await p.locator(card + " thead").getByText(/^\d\d:\d\d:00$/).waitFor();
  // The rate of a counter comes from the api ready made: 6e7 bits in 60 s.
  expect(await p.locator(net + " tbody tr td:nth-child(2)").first().textContent()).toBe("1\u202fMbit/s");
  await done(p);
});

test("a legend row shows one line alone, Alt hides it, a heading sorts", async () => {
  const p = await page();
  await p.goto(view + "&live=0");
  await drawn(p, cpu);
  const rows = p.locator(cpu + " tbody tr");
  const off = () => p.locator(cpu + " tbody tr.off").allTextContents();
  await rows.nth(0).click();
  await expect.poll(async () => (await off()).length).toBe(1);
  expect((await off())[0]).toContain("e2e-02");
  await rows.nth(0).click();
  await expect.poll(async () => (await off()).length).toBe(0);
  await rows.nth(0).click({ modifiers: ["Alt"] });
  await expect.poll(async () => (await off())[0] ?? "").toContain("e2e-01");
  await rows.nth(0).click({ modifiers: ["Alt"] });
  await p.locator(cpu).getByRole("button", { name: "endpoint" }).click();
  await p.locator(cpu).getByRole("button", { name: "endpoint" }).click();
  await expect.poll(async () => rows.nth(0).textContent()).toContain("e2e-02");
  await done(p);
});

test("one chart takes the whole pane, and back gives it back", async () => {
  const p = await page();
  await p.goto(view + "&live=0");
  await drawn(p, cpu);
  const before = (await p.locator(cpu).boundingBox())?.width ?? 0;
  await p.locator(cpu).getByRole("button", { name: "Enlarge: cpu.busy" }).click();
  await p.waitForFunction(() => document.querySelectorAll("article").length === 1);
  await drawn(p, cpu);
  expect((await p.locator(cpu).boundingBox())?.width ?? 0).toBeGreaterThan(before * 1.5);
  await p.goBack();
  await p.waitForFunction(() => document.querySelectorAll("article").length === 2);
  await done(p);
});

test("/ searches from anywhere, ? tells the keys", async () => {
  const p = await page();
  await p.goto("/screen/12");
  await p.getByText("This page is not there yet").waitFor();
  await p.keyboard.press("/");
  expect(await p.evaluate(() => document.activeElement?.id)).toBe("search");
  await p.keyboard.type("e2e-07");
  await p.locator("#search-found [role=option]").first().getByText("e2e-07", { exact: true }).waitFor();
  await p.keyboard.press("ArrowDown");
  await p.keyboard.press("Enter");
  await p.waitForURL(/\/explore\?e=e2e-07/);
  await row(p, "counter", "cpu.busy").waitFor();
  await p.keyboard.press("?");
  await p.getByRole("heading", { name: "Keys" }).waitFor();
  await p.keyboard.press("Escape");
  expect(await p.locator("dialog[open]").count()).toBe(0);
  await done(p);
});

test("while the first points are on their way the card says so", async () => {
  const p = await page();
  const held = await hold(p);
  await p.goto(view);
  await p.locator(cpu).getByText("Loading").waitFor();
  await p.locator(cpu + " .bar.on").waitFor({ state: "attached" });
  await held.release();
  await drawn(p, cpu);
  expect(await p.locator(cpu).getByText("Loading").count()).toBe(0);
  await done(p);
});

test("a failure is on the card, with a way to try again, and the old chart stays", async () => {
  const p = await page();
  await p.goto(view + "&live=0");
  await drawn(p, cpu);
  await p.route("**/api/v1/graph/history", (r) => r.fulfill({ status: 400, contentType: "application/json", body: '{"error":"the graphs are on holiday"}' }));
  await p.keyboard.press("r");
  await p.locator(cpu).getByText("the graphs are on holiday").waitFor();
  await p.locator(net).getByText("the graphs are on holiday").waitFor();
  await drawn(p, cpu);
  await p.unroute("**/api/v1/graph/history");
  await p.locator(cpu).getByRole("button", { name: "Try again" }).click();
  await p.waitForFunction(() => document.querySelector(".failure") === null);
  await p.route("**/api/v1/graph/history", (r) => r.abort());
  await p.keyboard.press("r");
  await p.locator(cpu).getByText("The server does not answer.").waitFor();
  await drawn(p, cpu);
  await done(p);
});

test("a search that is no regular expression is told in the list, and the rows stay", async () => {
  const p = await page();
  await p.goto("/explore?q=e2e");
  await row(p, "endpoint", "e2e-01").waitFor();
  await p.getByLabel("web bj -canary").fill("e2e(");
  await p.getByText(/missing closing \)/).waitFor();
  expect(await list(p, "endpoint").count()).toBe(12);
  await done(p);
});

test("a fresh fleet says how to push a first point", async () => {
  const p = await page();
  await p.route("**/api/v1/graph/endpoint?**", (r) => r.fulfill({ status: 200, headers: { "X-Falcon-Total": "0" }, contentType: "application/json", body: "[]" }));
  await p.goto("/explore");
  await p.getByText("Nothing has reported yet").waitFor();
  expect(await p.locator("pre.command").textContent()).toMatch(/^curl -s -X POST -d .*http:\/\/127\.0\.0\.1:1988\/v1\/push$/);
  await done(p);
});

test("a host that begins to report comes into the list by itself", async () => {
  const p = await page();
  const name = `late-${Date.now()}`;
  await p.goto(`/explore?q=${name}&e=${name}&c=hello`);
  await p.getByText(`Unknown: ${name}`).waitFor();
  const item = { endpoint: name, metric: "hello", timestamp: Math.floor(Date.now() / 1000), step: 60, value: 7, counterType: "GAUGE", tags: "" };
  expect(await (await fetch(push, { method: "POST", body: JSON.stringify([item]) })).text()).toBe("success");
  await row(p, "endpoint", name).waitFor();
  await row(p, "counter", "hello").waitFor();
  await p.locator('article[data-key="c:hello"] tbody').getByText("7", { exact: true }).first().waitFor();
  await done(p);
});

test("points missing of a graph node that is away are announced", async () => {
  const p = await page();
  await p.route("**/api/v1/graph/history", async (r) => {
    const answer = await r.fetch();
    await r.fulfill({ response: answer, headers: { ...answer.headers(), "x-falcon-partial": "graph-01" } });
  });
  await p.goto(view + "&live=0");
  await p.getByText("Without the part of graph-01, which did not answer.").waitFor();
  await drawn(p, cpu);
  await done(p);
});
