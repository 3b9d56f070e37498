// The whole way: a rule is made by hand on the pages, a point violates it, and the
// alarm, the message and the recovery are seen.
import { expect, test } from "vitest";
import { complaints, done, drawn, page, push, useBrowser } from "./world";

useBrowser();

const host = "e2e-boiler";
const metric = "e2e.temperature";

/** Pushes the value of this moment, and of so many steps before it. */
async function pushValue(value: number, before = 0): Promise<void> {
  const now = Math.floor(Date.now() / 10_000) * 10;
  const items = Array.from({ length: before + 1 }, (_, i) => ({ endpoint: host, metric, value, timestamp: now - (before - i) * 10, step: 10, counterType: "GAUGE", tags: "room=cellar" }));
  const resp = await fetch(push + "?wait=1", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(items) });
  if (!resp.ok) throw new Error(`push: ${resp.status} ${await resp.text()}`);
}

test("from a rule to the alarm, the bell and the recovery", { timeout: 180_000, retry: 0 }, async () => {
  const p = await page();
  await pushValue(20, 180);

  // Who is told, and how.
  await p.goto("/channels");
  await p.locator("main .count").filter({ hasText: /\d/ }).waitFor();
  if ((await p.getByRole("row").filter({ hasText: "inbox" }).count()) === 0) {
    await p.getByRole("button", { name: "New channel" }).click();
    await p.locator("dialog [name=name]").fill("inbox");
    await p.locator("dialog [name=type]").selectOption("inbox");
    await p.getByRole("button", { name: "Create" }).click();
    await p.getByRole("row").filter({ hasText: "inbox" }).waitFor();
  }
  await p.goto("/teams?do=new");
  await p.locator("dialog [name=name]").fill("e2e-heating");
  await p.locator("dialog .choices").getByText("root").first().click();
  await p.getByRole("button", { name: "Create" }).click();
  await p.getByRole("row").filter({ hasText: "e2e-heating" }).getByText("root").first().waitFor();

  // What is watched.
  await p.goto("/hostgroups?do=new");
  await p.locator("dialog input").fill("e2e-cellar");
  await p.getByRole("button", { name: "Create" }).click();
  await p.waitForURL(/\/hostgroups\/\d+$/);
  await p.locator("textarea").fill(host);
  await p.getByText("not known before").waitFor();
  await p.getByRole("button", { name: "Add 1" }).click();
  await p.locator(".grid").getByRole("link", { name: host }).waitFor();

  // The rule.
  await p.goto("/templates?do=new");
  await p.locator("dialog input").fill("e2e-heat");
  await p.getByRole("button", { name: "Create" }).click();
  await p.waitForURL(/\/templates\/\d+$/);
  await p.getByRole("button", { name: "New strategy" }).click();
  const form = p.locator(".strategy-form");
  await form.locator("[name=metric]").fill(metric);
  await form.locator("[name=func]").fill("all(#1");
  await form.locator("[name=op]").selectOption(">");
  await form.locator("[name=right_value]").fill("80");
  await form.locator("[name=note]").fill("too hot");
  await form.locator(".wrong [name=func]").waitFor(); // the api says so while it is written
  await form.locator("[name=func]").fill("all(#1)");
  await form.locator(".wrong").waitFor({ state: "detached" });
  await form.locator(".matches b").filter({ hasText: /^1 series match/ }).waitFor();
  await form.getByText(`${host}/${metric}`).waitFor();
  await form.getByRole("button", { name: "Add strategy" }).click();
  await p.locator(".grid").getByText("all(#1) > 80").waitFor();
  await p.getByLabel("add a team").selectOption("e2e-heating");
  await p.getByRole("button", { name: "Save", exact: true }).click();
  await p.getByText("Saved").waitFor();
  await p.getByLabel("bind a host group").selectOption("e2e-cellar");
  await p.locator(".chip").getByText("e2e-cellar").waitFor();
  await p.getByRole("link", { name: "e2e-cellar" }).click();
  await p.locator(".grid").getByRole("link", { name: host }).click();
  await p.locator("main").getByText("all(#1) > 80").waitFor(); // hbs says that it holds here

  // It gets hot.
  await p.goto("/alarms");
  const row = p.locator(".cases tr").filter({ hasText: host });
  await expect
    .poll(async () => {
      await pushValue(95);
      await p.keyboard.press("r");
      return row.count();
    }, { timeout: 90_000, interval: 2000 })
    .toBe(1);
  await row.getByText("95 > 80").waitFor();
  await row.getByText("too hot").waitFor();
  await row.click();
  const details = p.locator(".details");
  await details.getByText("inbox to root").first().waitFor({ timeout: 30_000 });
  await details.getByText("delivered").first().waitFor({ timeout: 30_000 });
  await drawn(p, ".case-chart");
  const bell = p.getByRole("button", { name: /unread messages to you/ });
  await bell.waitFor({ timeout: 30_000 });
  await bell.click();
  await p.locator(".inbox .unread").filter({ hasText: host }).first().click();
  await p.waitForURL(/\/alarms\?id=s_/);
  await details.getByRole("link", { name: "Chart with threshold" }).click();
  await p.waitForURL("**/explore?**");
  expect(new URL(p.url()).searchParams.get("t")).toBe(`${metric}/room=cellar>80`);
  await drawn(p, "article");

  // It cools down.
  await p.goto("/alarms?s=over");
  await expect
    .poll(async () => {
      await pushValue(20);
      await p.keyboard.press("r");
      return row.count();
    }, { timeout: 60_000, interval: 2000 })
    .toBe(1);
  await p.goto("/alarms");
  await expect.poll(() => row.count()).toBe(0);
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});
