// What only judges know: whose series has stopped, who works on what, which conditions
// of a combined rule hold; and expressions.
import { mkdirSync } from "node:fs";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { signed, useFake } from "./fake";
import { base, complaints, done, drawn, page, push, useBrowser } from "./world";

useBrowser();

const shots = process.env["FALCON_TEST_SHOTS"] ?? "";
const shot = async (p: Page, name: string): Promise<void> => {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await p.screenshot({ path: `${shots}/${name}.png` });
};

test("an alarm whose series has stopped, or whose host has no rules, is marked so", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/alarms");
  const row = (host: string) => p.locator(".cases tbody tr").filter({ hasText: host });
  await row("mysql-03.sh").getByText("stopped 2h").waitFor();
  await row("mysql-03.sh").getByText("no rules").waitFor();
  await row("kafka-07").getByText("acked anna").waitFor();
  expect(await row("web-014.bj").locator(".pill").count()).toBe(0);
  await row("mysql-03.sh").click();
  const facts = p.locator(".facts-list");
  await facts.getByText(/No point for 2h\. Closed at \d+-\d\d \d\d:\d\d:\d\d if none comes\./).waitFor();
  await facts.getByText("The host has no rules any more.").waitFor();
  await drawn(p, ".case-chart");
  await shot(p, "alarm-stopped");
  // Judges that do not answer are named; what the others say stays.
  fake.missing = "10.0.0.7:6080";
  await p.keyboard.press("r");
  await p.locator(".board").getByText("Without what is known to 10.0.0.7:6080, which did not answer.").waitFor();
  await row("mysql-03.sh").getByText("stopped 2h").waitFor();
  // What is over is asked of nobody.
  const before = fake.asked("/alarm/problems");
  await p.goto("/alarms?s=over&id=s_50_d");
  await p.locator(".details").getByText("web-003.bj").waitFor();
  expect(await p.getByRole("button", { name: "Acknowledge" }).count()).toBe(0);
  expect(fake.asked("/alarm/problems")).toBe(before);
  await done(p);
});

test("an alarm is acknowledged by a button or a key, and told again", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/alarms?id=s_41_a");
  const details = p.locator(".details");
  await details.getByRole("button", { name: "Acknowledge" }).waitFor();
  await p.keyboard.press("a");
  await expect.poll(() => fake.writes).toMatchObject([{ method: "POST", path: "/alarm/ack", body: { event_id: "s_41_a" } }]);
  await details.locator(".facts-list").getByText("until it is over").waitFor();
  await p.locator(".cases tbody tr.on").getByText("acked root").waitFor();
  await p.locator(".toast").getByText("nothing more is told of it until it is over").waitFor();
  await p.keyboard.press("a"); // once is enough
  await details.getByRole("button", { name: "Tell again" }).click();
  await expect.poll(() => fake.writes.map((w) => w.method + " " + w.path)).toEqual(["POST /alarm/ack", "DELETE /alarm/ack/s_41_a"]);
  await details.getByRole("button", { name: "Acknowledge" }).waitFor();
  await expect.poll(() => p.locator(".cases tbody tr.on").getByText("acked").count()).toBe(0);
  expect(signed(fake)).toBe(true);
  // g a leads to the alarms and acknowledges nothing.
  await p.keyboard.press("g");
  await p.keyboard.press("a");
  await p.waitForURL((u) => u.pathname === "/alarms" && u.search === "");
  expect(fake.writes.length).toBe(2);
  await p.goto("/alarms?id=s_42_b");
  await details.getByRole("button", { name: "Acknowledge" }).click();
  await details.getByText("there is nothing to acknowledge: the problem is over, or its rule is gone").waitFor();
  await done(p);
});

test("which conditions of a combined rule hold is shown of its alarm, and of its rule by host", async () => {
  const p = await page();
  await useFake(p);
  await p.goto("/alarms?id=m_7_e");
  const part = p.locator(".conditions");
  await part.getByText("2 of 3 hold").waitFor();
  await part.getByText("df.bytes.free.percent/mount=/data = 8").waitFor();
  await part.getByText("never met: 1").waitFor();
  await shot(p, "alarm-combined");
  await p.goto("/templates/2");
  const list = p.locator(".union-list .combined");
  await list.getByText("2 of 3 hold").waitFor();
  expect(await list.locator("summary .mono").allTextContents()).toEqual(["web-002.bj", "web-001.bj"]); // what is nearest comes first
  await list.getByText("df.bytes.free.percent all(#3) < 10").first().waitFor();
  await list.getByText("and 4 more hosts").waitFor();
  await shot(p, "union-standing");
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});

test("an expression is written, tried, saved, paused and deleted", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/expressions");
  await p.getByRole("button", { name: "New expression" }).click();
  const form = p.getByRole("form", { name: "New expression" });
  await form.locator("[name=expression]").fill("qps");
  await form.locator("[name=right_value]").fill("100");
  await form.getByRole("button", { name: "Try", exact: true }).click();
  await form.locator(".try").getByText('expression "qps": write each(metric=qps srv=pay)').waitFor();
  await form.locator("[name=expression]").fill("each(metric=qps)");
  await form.getByRole("button", { name: "Try", exact: true }).click();
  await form.getByText("Would have fired 3× on 2 of 14 hosts in the last day").waitFor();
  await drawn(p, ".try-chart");
  await shot(p, "expression");
  await form.getByRole("button", { name: "Create" }).click();
  await form.getByText("the expression has no tag that must match").waitFor();
  await form.locator("[name=expression]").fill("each(metric=qps srv=pay)");
  await form.getByText("The rule has been changed since").waitFor();
  await form.getByLabel("add a team").selectOption("ops");
  await form.getByLabel("Paused: it is not judged").check();
  fake.writes.length = 0;
  await form.getByRole("button", { name: "Create" }).click();
  await form.waitFor({ state: "detached" });
  expect(fake.writes).toMatchObject([{
    method: "POST", path: "/expression",
    body: { expression: "each(metric=qps srv=pay)", func: "all(#3)", op: ">", right_value: "100", max_step: 3, priority: 2, note: "", pause: 1, action: { uic: ["ops"], callback: 0, channels: "" } },
  }]);

  // Pausing saves all of it with the other mark.
  fake.writes.length = 0;
  await p.getByRole("checkbox", { name: "In force: each(metric=qps srv=pay)" }).click();
  await expect.poll(() => fake.writes).toMatchObject([{ method: "PUT", path: "/expression", body: { id: 1, expression: "each(metric=qps srv=pay)", note: "payments are busy", pause: 1, action: { uic: ["ops"] } } }]);
  await p.getByRole("button", { name: "Edit: each(metric=qps srv=pay)" }).click();
  await p.getByRole("form", { name: "Edit expression" }).locator("[name=note]").fill("busy");
  await p.getByRole("form", { name: "Edit expression" }).getByRole("button", { name: "Save" }).click();
  await expect.poll(() => fake.writes.at(-1)).toMatchObject({ method: "PUT", path: "/expression", body: { id: 1, note: "busy", pause: 0 } });
  await p.getByRole("button", { name: "Delete: each(metric=latency.p99 srv=pay ^idc=bj)" }).click();
  await p.locator("dialog.dialog").getByRole("button", { name: "Delete" }).click();
  await expect.poll(() => fake.writes.at(-1)).toMatchObject({ method: "DELETE", path: "/expression/2" });
  expect(signed(fake)).toBe(true);
  await done(p);
});

test.each([["zh", true], ["en", false]] as const)("the same on a phone in %s", async (lang, dark) => {
  const p = await page({ lang, dark, width: 390, height: 844, touch: true });
  await useFake(p);
  for (const [path, text, name] of [
    ["/alarms", "mysql-03.sh", "alarms"], ["/alarms?id=s_42_b", "replica lags behind", "stopped"], ["/alarms?id=m_7_e", "net.if.in.bits", "conditions"],
    ["/templates/2", "web-002.bj", "union"], ["/expressions", "each(metric=qps srv=pay)", "expressions"], ["/expressions?edit=1", "each(metric=qps srv=pay)", "edit"],
  ] as const) {
    await p.goto(path);
    await p.locator(".page").getByText(text).locator("visible=true").first().waitFor();
    await expect.poll(() => p.locator(".bar.on").count()).toBe(0);
    expect(await p.evaluate(() => document.documentElement.scrollWidth <= innerWidth), path).toBe(true);
    if (shots) await p.screenshot({ path: `${shots}/phone-${name}-${lang}.png`, fullPage: true });
  }
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});

test("a real alarm of an expression is acknowledged at its judge", { timeout: 120_000 }, async () => {
  const p = await page();
  const metric = "e2e.ack." + Date.now();
  const text = `each(metric=${metric} job=a)`;
  await p.goto("/expressions?edit=new");
  const form = p.getByRole("form", { name: "New expression" });
  await form.locator("[name=expression]").fill(text);
  await form.locator("[name=func]").fill("all(#1)");
  await form.locator("[name=right_value]").fill("5");
  await form.getByLabel("add a team").selectOption("ops");
  await form.getByRole("button", { name: "Create" }).click();
  await p.getByText(text).waitFor();
  const send = async (value: number) => {
    const body = [{ endpoint: "acked-host", metric, value, timestamp: Math.floor(Date.now() / 1000), step: 10, counterType: "GAUGE", tags: "job=a" }];
    expect((await fetch(push + "?wait=1", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })).ok).toBe(true);
  };
  const found = async () => {
    const r = await p.request.get(base + "/api/v1/alarm/eventcases?endpoints=acked-host&startTime=1&status=PROBLEM");
    return ((await r.json()) as { id: string; metric: string }[]).find((c) => c.metric.startsWith(metric))?.id ?? "";
  };
  await expect.poll(async () => {
    await send(9);
    return found();
  }, { timeout: 60_000, interval: 1000 }).not.toBe("");
  await p.goto("/alarms?id=" + (await found()));
  await p.locator(".details").getByRole("button", { name: "Acknowledge" }).click();
  await p.locator(".facts-list").getByText("until it is over").waitFor();
  await p.locator(".facts-list").getByText("root").waitFor();
  await p.locator(".cases tbody tr.on").getByText("acked root").waitFor();
  await p.locator(".details").getByRole("link", { name: "Rule" }).click();
  await p.getByRole("form", { name: "Edit expression" }).waitFor();
  await p.getByRole("button", { name: "Delete: " + text }).click();
  await p.locator("dialog.dialog").getByRole("button", { name: "Delete" }).click();
  await p.getByText(text).first().waitFor({ state: "detached" });
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});
