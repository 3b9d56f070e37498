// The whole way: a rule is made by hand on the pages, a point violates it, and the
// alarm, the message and the recovery are seen.
import { expect, test } from "vitest";
import { complaints, done, drawn, page, push, useBrowser } from "./world";

useBrowser();

// No name of the other files: they count what theirs finds.
const host = "cellar-boiler";
const metric = "boiler.temperature";

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

  // What it would have told of the last hour, and what another threshold would.
  await p.locator(".grid").getByRole("button", { name: /^edit/i }).first().click();
  await form.getByRole("button", { name: "1h", exact: true }).click();
  await form.getByRole("button", { name: "Try", exact: true }).click();
  await form.getByText("Would not have fired on any of 1 hosts in the last hour").waitFor();
  await form.locator("[name=right_value]").fill("10");
  await form.getByText("The rule has been changed since").waitFor();
  await form.getByRole("button", { name: "Try again" }).click();
  await form.getByText("Would have fired 1× on 1 of 1 hosts in the last hour").waitFor();
  await form.getByText("1 would be firing now").waitFor();
  await drawn(p, ".try-chart");
  await form.getByRole("button", { name: "Cancel" }).click();
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

  // The rule rests for a while: hbs says what that hides, then that it does, and then that it is over.
  await p.goto("/templates");
  await p.locator(".grid").getByRole("link", { name: "e2e-heat" }).click();
  await p.getByRole("button", { name: `Disable…: ${metric}` }).click();
  const dialog = p.locator("dialog.dialog");
  await dialog.getByText("Hidden rules: 1, on hosts: 1").waitFor();
  await dialog.getByRole("button", { name: "10m", exact: true }).click();
  await dialog.locator("[name=reason]").fill("the sweep is here");
  await dialog.getByRole("button", { name: "Disable", exact: true }).click();
  const disabled = p.locator(".disabled-now tr").filter({ hasText: metric });
  await disabled.getByText("root: the sweep is here").waitFor();
  await p.getByRole("link", { name: "e2e-cellar" }).click();
  await p.locator(".grid").getByRole("link", { name: host }).click();
  const rule = p.locator("main tr").filter({ hasText: "all(#1) > 80" });
  const hidden = rule.getByText("disabled until");
  await expect
    .poll(async () => {
      await p.keyboard.press("r");
      return hidden.count();
    }, { timeout: 20_000, interval: 1000 })
    .toBe(1);
  await p.goto("/templates");
  await disabled.getByRole("button", { name: /^End now/ }).click();
  await disabled.waitFor({ state: "detached" });
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});

test("everything that can be made can be changed and deleted", { timeout: 120_000, retry: 0 }, async () => {
  const p = await page();
  const saved = () => p.locator(".toast").getByText("Saved").waitFor();
  const dialog = p.locator("dialog.dialog");
  const press = (name: string) => dialog.getByRole("button", { name, exact: true }).click();
  const gone = () => dialog.waitFor({ state: "detached" });

  // A user, who gets a role and another address.
  await p.goto("/teams?s=users&do=new");
  for (const [name, value] of [["name", "e2e-eve"], ["cnname", "Eve"], ["password", "a long password"], ["email", "eve@example.com"]] as const) await dialog.locator(`[name=${name}]`).fill(value);
  await press("Create");
  await gone();
  const eve = p.getByRole("row").filter({ hasText: "e2e-eve" });
  await eve.getByRole("button", { name: "Edit" }).click();
  await dialog.locator("[name=email]").fill("eve@example.org");
  await dialog.locator("[name=new]").fill("another long password");
  await press("Save");
  await gone();
  await eve.getByText("eve@example.org").waitFor();
  await eve.getByRole("button", { name: "make administrator" }).click();
  await eve.getByText("administrator", { exact: true }).waitFor();
  await eve.getByRole("button", { name: "no longer administrator" }).click();
  await eve.getByRole("button", { name: "make administrator" }).waitFor();

  // A team with her, renamed and deleted.
  await p.goto("/teams?do=new");
  await dialog.locator("[name=name]").fill("e2e-team");
  await dialog.locator(".choices").getByText("e2e-eve").click();
  await press("Create");
  await gone();
  const team = p.getByRole("row").filter({ hasText: "e2e-team" });
  await team.getByText("e2e-eve").waitFor();
  await team.getByRole("button", { name: "Edit" }).click();
  await dialog.locator("[name=resume]").fill("for a test");
  await dialog.locator(".choices").getByText("root").first().click();
  await press("Save");
  await gone();
  await team.getByText("for a test").waitFor();
  await team.getByText("root").first().waitFor();
  await team.getByRole("button", { name: "Delete" }).click();
  await press("Delete");
  await gone();
  await team.waitFor({ state: "detached" });
  await p.goto("/teams?s=users");
  await eve.getByRole("button", { name: "Delete" }).click();
  await press("Delete");
  await gone();
  await eve.waitFor({ state: "detached" });

  // A group: members in all three ways, a plugin, maintenance, another name.
  await p.goto("/hostgroups?do=new");
  await dialog.locator("input").fill("e2e-group");
  await press("Create");
  await p.waitForURL(/\/hostgroups\/\d+$/);
  const members = p.locator("table.grid").first();
  const change = async (text: string, button: string) => {
    await p.locator("textarea").fill(text);
    await p.getByRole("button", { name: button }).click();
    await expect.poll(() => p.locator("textarea").inputValue()).toBe("");
  };
  await change("e2e-m1 e2e-m2, e2e-m3", "Add 3");
  await members.getByText("e2e-m3").waitFor();
  await p.getByRole("button", { name: "remove", exact: true }).click();
  await change("e2e-m1", "Remove 1");
  await members.getByText("e2e-m1").waitFor({ state: "detached" });
  await p.getByRole("button", { name: "replace", exact: true }).click();
  await change("e2e-m3\ne2e-m4", "Replace, 2 then");
  await members.getByText("e2e-m4").waitFor();
  expect(await members.getByText("e2e-m2").count()).toBe(0);
  await p.getByLabel("Plugin folder").fill("sys/ntp");
  await p.getByRole("button", { name: "Bind folder" }).click();
  await p.getByRole("button", { name: "Remove: sys/ntp" }).click();
  await p.getByText("No plugin folder is bound.").waitFor();
  await p.getByRole("button", { name: "Rename" }).click();
  await dialog.locator("input").fill("e2e-group-2");
  await press("Save");
  await p.getByRole("heading", { name: "e2e-group-2" }).waitFor();
  await members.getByRole("link", { name: "e2e-m4" }).click();
  await p.getByLabel("Maintenance…").selectOption("3600");
  await p.getByText(/^maintenance until/).waitFor();
  await p.getByRole("button", { name: "End maintenance" }).click();
  await p.getByText(/^maintenance until/).waitFor({ state: "detached" });

  // A template below another, copied; what it inherits is overridden; both are deleted.
  await p.goto("/templates?do=new");
  await dialog.locator("input").fill("e2e-parent");
  await press("Create");
  await p.waitForURL(/\/templates\/\d+$/);
  const form = p.locator(".strategy-form");
  const strategy = async (change: Record<string, string>) => {
    for (const [name, value] of Object.entries(change)) await form.locator(`[name=${name}]`).fill(value);
    await form.getByRole("button", { name: /^(Add strategy|Save)$/ }).click();
    await form.waitFor({ state: "detached" });
  };
  await p.getByRole("button", { name: "New strategy" }).click();
  await strategy({ metric: "e2e.metric", tags: "a=b", right_value: "5", run_begin: "08:00", run_end: "22:00" });
  await p.getByRole("button", { name: "Edit: e2e.metric" }).click();
  await strategy({ right_value: "7" });
  await p.locator(".grid").getByText("all(#3) < 7").waitFor();
  // One about texts, with its own functions and operators; it comes back as it was written.
  await p.getByRole("button", { name: "New strategy" }).click();
  await form.locator("[name=value_type]").selectOption("string");
  await form.locator("[name=op]").selectOption("!contains");
  await strategy({ metric: "e2e.state", right_string: "it's fine" });
  await p.locator(".grid").getByText('all(#1) !contains "it\'s fine"').waitFor();
  await p.getByRole("button", { name: "Edit: e2e.state" }).click();
  await expect.poll(() => form.locator("[name=right_string]").inputValue()).toBe("it's fine");
  await form.locator("[name=func]").fill("diff(#2)");
  await form.locator("[name=op]").waitFor({ state: "detached" });
  await strategy({});
  await p.locator(".grid").getByText("diff(#2)", { exact: true }).waitFor();
  await p.goto("/templates?do=new");
  await dialog.locator("input").fill("e2e-child");
  await dialog.locator("select").selectOption("e2e-parent");
  await press("Create");
  await p.waitForURL(/\/templates\/\d+$/);
  await p.getByRole("button", { name: "override: e2e.metric" }).click();
  await strategy({ right_value: "9" });
  await p.locator("tr.gone").getByText("all(#3) < 7").waitFor();
  await p.locator("tr:not(.gone)").getByText("all(#3) < 9").waitFor();
  await p.getByLabel("add a team").selectOption("ops");
  await p.getByLabel("only by this channel").selectOption("log");
  await p.getByLabel("Call a URL for each event").check();
  await p.locator("[name=url]").fill("http://127.0.0.1:9/call");
  await p.getByRole("button", { name: "Save", exact: true }).click();
  await saved();
  await p.reload();
  await expect.poll(() => p.locator("[name=url]").inputValue()).toBe("http://127.0.0.1:9/call");
  await p.locator(".chip").getByText("log").waitFor();
  await p.getByRole("button", { name: "Copy" }).click();
  await press("Copy");
  await p.getByRole("heading", { name: "copy_of_e2e-child" }).waitFor();
  await p.locator("tr:not(.gone)").getByText("all(#3) < 9").waitFor();
  await p.locator(".chip").getByText("ops").waitFor();
  for (const name of ["copy_of_e2e-child", "e2e-child", "e2e-parent"]) {
    await p.goto("/templates");
    await p.getByRole("button", { name: "Delete: " + name, exact: true }).click();
    await press("Delete");
    await gone();
    await p.getByRole("link", { name, exact: true }).waitFor({ state: "detached" });
  }

  // A channel, changed, switched off and deleted.
  await p.goto("/channels?do=new");
  await dialog.locator("[name=name]").fill("e2e-hook");
  await dialog.locator("[name=type]").selectOption("webhook");
  await dialog.locator("[name=url]").fill("http://127.0.0.1:9/hook");
  await dialog.locator("[name=headers]").fill("X-Key: secret");
  await press("Create");
  await gone();
  const hook = p.getByRole("row").filter({ hasText: "e2e-hook" });
  await hook.getByRole("checkbox").click();
  await expect.poll(() => hook.getByRole("checkbox").isChecked()).toBe(false);
  await hook.getByRole("button", { name: "Edit" }).click();
  await expect.poll(() => dialog.locator("[name=headers]").inputValue()).toBe("X-Key: ***");
  await dialog.locator("[name=timeout]").fill("3s");
  await dialog.getByRole("button", { name: "Send a test" }).click();
  await dialog.getByText(/connection refused/).waitFor();
  await press("Save");
  await gone();
  await hook.getByRole("button", { name: "Delete" }).click();
  await press("Delete");
  await gone();
  await hook.waitFor({ state: "detached" });

  // The hosts are still there, in no group once theirs is deleted.
  await p.goto("/hostgroups");
  await p.getByRole("button", { name: "Delete: e2e-group-2" }).click();
  await press("Delete");
  await gone();
  await p.goto("/hosts?q=e2e-m4");
  await p.getByRole("link", { name: "e2e-m4" }).click();
  await p.getByText("In no host group: no template watches it.").waitFor();
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});
