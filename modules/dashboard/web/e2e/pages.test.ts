import axe from "axe-core";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { signed, useFake } from "./fake";
import { complaints, done, drawn, page, useBrowser } from "./world";

useBrowser();

const overflow = (p: Page) => p.evaluate(() => document.documentElement.scrollWidth - innerWidth);

async function wrong(p: Page): Promise<string[]> {
  await p.evaluate(axe.source);
  return p.evaluate(async () => {
    const found = await (window as unknown as { axe: typeof axe }).axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] });
    return found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).slice(0, 3).join("; ")}`);
  });
}

// Each page, and what is on it once its rows are there, is empty, or speaks Chinese.
const all = [
  ["/alarms", "mysql-03.sh", "Nothing is wrong", "未恢复"],
  ["/alarms?s=over", "web-003.bj", "Nothing recovered in this time.", "已恢复"],
  ["/alarms?id=s_41_a", "451 4.7.1 try again later", "Nothing is wrong", "带阈值的图表"],
  ["/templates", "web.disk", "No templates yet", "父模板"],
  ["/templates?do=new", "web.disk", "No templates yet", "新建模板"],
  ["/templates/2", "load.1minPerCPU", "No strategies yet", "通知谁"],
  ["/templates/2?edit=new", "load.1minPerCPU", "No strategies yet", "最多通知次数"],
  ["/templates/2?edit=41", "load.1minPerCPU", "No strategies yet", "阈值"],
  ["/alarms?id=m_7_e", "net.if.in.bits/iface=eth0", "Nothing is wrong", "各条件"],
  ["/expressions", "each(metric=qps srv=pay)", "No expressions yet", "新建表达式"],
  ["/expressions?edit=new", "each(metric=latency.p99", "Nobody is told.", "用历史数据试算"],
  ["/expressions?edit=1", "each(metric=qps srv=pay)", "No expressions yet", "暂停：不做判断"],
  ["/hostgroups", "shop.web", "No host groups yet", "新建主机组"],
  ["/hostgroups/2", "web-001.bj", "Nobody is in this group", "变更成员"],
  ["/hosts", "web-002.bj", "No hosts yet", "最近心跳"],
  ["/hosts/3", "load.1minPerCPU", "No rule holds for this host", "生效的策略"],
  ["/teams", "ops", "No teams yet", "新建用户组"],
  ["/teams?do=1", "on call", "No teams yet", "编辑用户组"],
  ["/teams?s=users", "anna@example.com", "Nothing matches this filter.", "新建用户"],
  ["/teams?s=users&do=3", "anna@example.com", "Nothing matches this filter.", "新密码"],
  ["/channels", "falcon@example.com → smtp.example.com:587", "No channels yet", "新建渠道"],
  ["/channels?do=2", "falcon@example.com → smtp.example.com:587", "No channels yet", "编辑渠道"],
  ["/channels?test=2", "falcon@example.com → smtp.example.com:587", "No channels yet", "发送测试"],
] as const;

for (const [path, row, nothing, zh] of all) {
  test(`${path}: rows, none, and the other language`, async () => {
    const p = await page();
    const fake = await useFake(p);
    await p.goto(path);
    await p.getByText(row).first().waitFor();
    expect(await wrong(p)).toEqual([]);
    expect(await overflow(p)).toBeLessThanOrEqual(0);
    expect(complaints.get(p)).toEqual([]);
    fake.empty = true;
    await p.reload();
    await p.getByText(nothing).first().waitFor();
    expect(await wrong(p)).toEqual([]);
    expect(complaints.get(p)).toEqual([]);
    await done(p);

    const phone = await page({ lang: "zh", dark: true, width: 360, height: 740, touch: true });
    await useFake(phone);
    await phone.goto(path);
    await phone.getByText(zh).first().waitFor();
    await phone.getByText(row).first().waitFor({ state: "attached" });
    expect(await overflow(phone)).toBeLessThanOrEqual(0);
    const tall = await phone.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("main button, dialog.dialog button")].filter((b) => b.offsetParent !== null && b.getBoundingClientRect().height > 48).map((b) => b.textContent),
    );
    expect(tall).toEqual([]);
    expect(await wrong(phone)).toEqual([]);
    expect(complaints.get(phone)).toEqual([]);
    await done(phone);
  });
}

test.each([760, 900, 1024, 1280, 3840])("nothing sticks out at %s px", async (width) => {
  const p = await page({ width, height: 900 });
  await useFake(p);
  for (const [path, row] of all) {
    await p.goto(path);
    await p.getByText(row).first().waitFor({ state: "attached" });
    expect(await overflow(p), path).toBeLessThanOrEqual(0);
    // Nor does a part of the page need a bar below it to be read.
    const wide = await p.evaluate(() => [...document.querySelectorAll(".page, .board, .details, .dialog, table.grid")].filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className));
    expect(wide, path).toEqual([]);
  }
  await done(p);
});

test.each(["/alarms", "/templates", "/templates/2", "/expressions", "/hostgroups", "/hostgroups/2", "/hosts", "/hosts/3", "/teams", "/channels"])("%s says what failed, and tries again", async (path) => {
  const row = (all.find(([at]) => at === path) as (typeof all)[number])[1];
  const p = await page();
  const fake = await useFake(p);
  fake.fail = true;
  await p.goto(path);
  const main = p.locator("main");
  await main.getByText("the store does not answer").first().waitFor();
  expect(await main.getByText(row).count()).toBe(0);
  fake.fail = false;
  for (const again of await main.getByRole("button", { name: "Try again" }).all()) await again.click({ timeout: 2000 }).catch(() => {}); // one may stand for several
  await main.getByText(row).first().waitFor();
  await expect.poll(() => main.getByText("the store does not answer").count()).toBe(0);
  // What is on screen stays while the next answer fails.
  fake.fail = true;
  await p.keyboard.press("r");
  await main.getByText("the store does not answer").first().waitFor();
  expect(await main.getByText(row).first().isVisible()).toBe(true);
  await done(p);
});

test("alarms are looked at anew every ten seconds, and the rows stay meanwhile", async () => {
  const p = await page();
  await p.clock.install();
  const fake = await useFake(p);
  await p.goto("/alarms");
  await p.getByText("mysql-03.sh").waitFor();
  const before = fake.asked("/alarm/eventcases");
  fake.slow = 400;
  await p.clock.fastForward(11_000);
  await p.locator(".board .bar.on").waitFor();
  expect(await p.getByText("mysql-03.sh").isVisible()).toBe(true);
  await expect.poll(() => fake.asked("/alarm/eventcases")).toBeGreaterThan(before);
  await done(p);
});

test("alarms are filtered, grouped, walked through by keys, and all of it is in the URL", async () => {
  const p = await page();
  await useFake(p);
  await p.goto("/alarms");
  const rows = p.locator(".cases tbody tr");
  await expect.poll(() => rows.count()).toBe(3);
  await p.getByLabel("counter, note, endpoint, -word").fill("-mysql");
  await expect.poll(() => rows.count()).toBe(2);
  await p.getByRole("button", { name: "p0 2" }).click();
  expect(new URL(p.url()).search).toBe("?q=-mysql&p=0");
  await p.reload();
  await expect.poll(() => rows.count()).toBe(2);
  await p.locator("h1").evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await p.keyboard.press("j");
  await p.locator(".details").getByText("kafka-07.a-long-host-name").waitFor();
  await p.keyboard.press("j");
  await p.locator(".details").getByText("web-014.bj").waitFor();
  expect(new URL(p.url()).searchParams.get("id")).toBe("s_41_a");
  await p.keyboard.press("k");
  await p.locator(".details").getByText("kafka-07.a-long-host-name").waitFor();
  await p.keyboard.press("Escape");
  await p.locator(".details").waitFor({ state: "detached" });
  await p.getByLabel("counter, note, endpoint, -word").fill("");
  await p.getByRole("button", { name: "any" }).click();
  await p.getByRole("button", { name: "by host" }).click();
  await p.locator("tr.group").getByText("mysql-03.sh").waitFor();
  expect(await p.locator("tr.group").count()).toBe(3);
  expect(await wrong(p)).toEqual([]);
  await p.locator("h1").evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await p.keyboard.press("g");
  await p.keyboard.press("t");
  await p.waitForURL("**/templates");
  await done(p);
});

test("an alarm tells its story, and leads to its chart with the threshold in it and to its rule", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/alarms?id=s_41_a");
  await drawn(p, ".case-chart");
  await p.getByText("PROBLEM 2").waitFor();
  await p.getByText("mail to bo").waitFor();
  await p.locator(".story").getByText("moving the logs away").waitFor();
  await p.getByLabel("State").selectOption("resolved");
  await p.getByLabel("Say what is being done").fill("moved");
  await p.keyboard.press("Enter");
  await expect.poll(() => fake.writes).toMatchObject([{ path: "/alarm/event_note", body: { event_id: "s_41_a", note: "moved", status: "resolved" } }]);
  await p.getByRole("link", { name: "Chart with threshold" }).click();
  await p.waitForURL("**/explore?**");
  expect(new URL(p.url()).searchParams.get("t")).toBe("df.bytes.free.percent/fstype=ext4,mount=/data<10");
  await drawn(p, "article");
  const red = await p.evaluate(() => {
    const canvas = document.querySelector("article canvas") as HTMLCanvasElement;
    const want = getComputedStyle(document.documentElement).getPropertyValue("--threshold").trim();
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(want.slice(i, i + 2), 16)) as [number, number, number];
    const d = (canvas.getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, canvas.width, canvas.height).data;
    let n = 0;
    for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255 && d[i] === r && d[i + 1] === g && d[i + 2] === b) n++;
    return n;
  });
  expect(red).toBeGreaterThan(100);
  await p.goBack();
  await p.locator(".details").getByRole("link", { name: "Rule" }).click();
  await p.waitForURL("**/templates/2?on=41");
  await p.locator("tr.on").getByText("df.bytes.free.percent", { exact: true }).waitFor();
  await done(p);
});

test("the bell counts, tells, leads to the alarm, and forgets what is read", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/hosts");
  await p.getByRole("button", { name: "2 unread messages to you" }).click();
  await p.locator(".inbox").getByText("mysql.slave.lag/port=3306").click();
  await p.waitForURL("**/alarms?id=s_42_b");
  await p.getByRole("button", { name: "1 unread messages to you" }).click();
  expect(await wrong(p)).toEqual([]);
  await p.getByRole("button", { name: "Mark all as read" }).click();
  await p.getByRole("button", { name: "Messages to you", exact: true }).waitFor();
  expect(fake.writes.map((w) => [w.path, w.body])).toEqual([["/alarm/inbox/read", { ids: [2] }], ["/alarm/inbox/read", { ids: [] }]]);
  expect(signed(fake)).toBe(true);
  await done(p);
});

test("a strategy about texts has functions and operators of its own", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/templates/2");
  await p.getByRole("button", { name: "New strategy" }).click();
  const form = p.locator(".strategy-form");
  await form.locator("[name=metric]").fill("app.state");
  await form.locator("[name=value_type]").selectOption("string");
  expect(await form.locator("[name=op] option").allTextContents()).toEqual(["==", "!=", "contains", "!contains", "=~", "!~"]);
  expect(await form.locator("[name=right_value]").count()).toBe(0);
  expect(await form.locator(".try").count()).toBe(0); // graph has no texts to try it on
  await form.locator("[name=op]").selectOption("=~");
  await form.locator("[name=right_string]").fill("(");
  await form.getByText('"(" is no regular expression').waitFor();
  await form.getByText("What do these mean?").click();
  await form.getByText("The text matches a regular expression (RE2)").waitFor();
  expect(await overflow(p)).toBeLessThanOrEqual(0);
  await form.locator("[name=func]").fill("change(#5)");
  await form.locator("[name=op]").waitFor({ state: "detached" });
  await form.locator("[name=right_string]").fill("2");
  await form.getByRole("button", { name: "Add strategy" }).click();
  await form.waitFor({ state: "detached" });
  expect(fake.writes.at(-1)?.body).toMatchObject({ metric: "app.state", value_type: "string", func: "change(#5)", right_string: "2", tpl_id: 2 });
  expect(fake.writes.at(-1)?.body).not.toHaveProperty("right_value");
  await done(p);
});

test("a strategy is checked while it is written, and what is wrong stands at its field", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/templates/2");
  await p.getByRole("button", { name: "New strategy" }).click();
  const form = p.locator(".strategy-form");
  await form.locator("[name=right_value]").fill("ten");
  await form.getByText('"ten" is no number').waitFor();
  expect(await form.getByText("write the name of a metric").count()).toBe(0); // nobody has been there yet
  await form.locator("[name=metric]").fill("cpu.idle");
  await form.getByText("12 series match now").waitFor();
  await form.getByText("What do these mean?").click();
  await form.getByText("Every series but those with this tag.").waitFor();
  expect(await wrong(p)).toEqual([]);
  expect(await overflow(p)).toBeLessThanOrEqual(0);
  await form.locator("[name=right_value]").fill("10");
  await expect.poll(() => form.getByText("is no number").count()).toBe(0);
  await form.locator("[name=func]").fill("none");
  await form.getByRole("button", { name: "Add strategy" }).click();
  await form.locator(".wrong [name=func]").waitFor();
  await form.getByText('"none" is no function').waitFor();
  await form.locator("[name=func]").fill("all(#3)");
  await form.getByRole("button", { name: "Add strategy" }).click();
  await form.waitFor({ state: "detached" });
  expect(new URL(p.url()).search).toBe("");
  expect(fake.writes.at(-1)?.body).toEqual({ metric: "cpu.idle", tags: "", func: "all(#3)", op: "<", right_value: "10", max_step: 3, priority: 2, note: "", run_begin: "", run_end: "", tpl_id: 2 });
  expect(signed(fake)).toBe(true);
  await done(p);
});

for (const [name, look, words] of [
  ["a desktop", {}, { go: "Try", again: "Try again", sum: "Would have fired 3× on 2 of 14 hosts in the last day", more: "1 would be firing now", events: "What would have been told (5)", quiet: "The rule reaches no host", stale: "The rule has been changed since" }],
  ["a dark phone in Chinese", { lang: "zh", dark: true, width: 360, height: 740, touch: true },
    { go: "试算", again: "重新试算", sum: "最近 1 天内会在 14 台主机中的 2 台上触发 3 次", more: "现在会有 1 条处于告警中", events: "会发出的通知（5）", quiet: "规则未作用于任何主机", stale: "规则已改动" }],
] as const) {
  test(`a rule is tried on history before it is saved, on ${name}`, async () => {
    const p = await page(look);
    const fake = await useFake(p);
    await p.goto("/templates/2?edit=new");
    const form = p.locator(".strategy-form");
    await form.locator("[name=metric]").fill("cpu.idle");
    await form.locator("[name=right_value]").fill("10");
    await form.getByRole("button", { name: words.go, exact: true }).click();
    await form.getByText(words.sum).waitFor();
    await form.getByText(words.more).waitFor();
    await drawn(p, ".try-chart");
    expect(await form.locator(".try-lines li").count()).toBe(3);
    await form.getByText(words.events).click();
    expect(await form.locator(".try-events li").count()).toBe(5);
    expect(await wrong(p)).toEqual([]);
    expect(await overflow(p)).toBeLessThanOrEqual(0);
    const shots = process.env["FALCON_TEST_SHOTS"];
    if (shots) await p.screenshot({ path: `${shots}/try-${name.replaceAll(" ", "-")}.png`, fullPage: true });

    // The answer is of the rule as it was; another range asks anew.
    await form.locator("[name=right_value]").fill("20");
    await form.getByText(words.stale).waitFor();
    await form.getByRole("button", { name: "6h", exact: true }).click();
    await form.getByText(words.stale).waitFor({ state: "detached" });
    expect(fake.asked("/strategy/backtest")).toBe(2);
    await form.locator("[name=right_value]").fill("0");
    await form.getByRole("button", { name: words.again }).click();
    await form.getByText(words.quiet).waitFor();
    // What is wrong is said, and what was there stays.
    await form.locator("[name=func]").fill("none");
    await form.getByRole("button", { name: words.again }).click();
    await form.locator(".try .failure").getByText('function "none"').waitFor();
    await form.getByText(words.quiet).waitFor();
    expect(fake.writes).toEqual([]);
    await done(p);
  });
}

test("what is inherited is overridden from where it stands", async () => {
  const p = await page();
  await useFake(p);
  await p.goto("/templates/2");
  const struck = p.locator("tr.gone");
  await struck.getByText("df.bytes.free.percent").waitFor();
  expect(await struck.locator(".strike").first().evaluate((e) => getComputedStyle(e).textDecorationLine)).toBe("line-through");
  await p.getByRole("button", { name: "override: load.1minPerCPU" }).click();
  await expect.poll(() => p.locator("[name=metric]").inputValue()).toBe("load.1minPerCPU");
  expect(new URL(p.url()).search).toBe("?edit=over-2");
  await p.getByLabel("add a team").waitFor({ state: "detached" }); // ops is the only one and is told already
  await p.getByLabel("only by this channel").selectOption("mail");
  await p.getByRole("button", { name: "Save", exact: true }).click();
  await p.getByText("Saved").waitFor();
  await done(p);
});

test("what is disabled is chosen for how long, shows what it hides, and is ended by hand", async () => {
  const p = await page();
  const fake = await useFake(p);
  const dialog = p.locator("dialog.dialog");
  const now = p.locator(".disabled-now");

  // A host, and two at once.
  await p.goto("/hosts");
  await now.getByText("web-002.bj").waitFor();
  await p.getByRole("checkbox", { name: "web-001.bj" }).check();
  await p.getByRole("button", { name: "Disable…" }).click();
  await dialog.getByText("Hidden rules: 2, on hosts: 1").waitFor();
  await dialog.getByText("expressions that name the host: 2").waitFor();
  expect(await wrong(p)).toEqual([]);
  await dialog.getByRole("button", { name: "3h", exact: true }).click();
  await dialog.locator("[name=reason]").fill(" new disk ");
  await dialog.getByRole("button", { name: "Disable", exact: true }).click();
  await p.getByText("Disabled for 3h").waitFor();
  await dialog.waitFor({ state: "detached" });
  expect(fake.writes.pop()).toMatchObject({ method: "POST", path: "/alarm/disable", body: { type: 1, host_id: 1, duration: "3h", reason: "new disk" } });
  for (const name of ["web-001.bj", "web-003.bj"]) await p.getByRole("checkbox", { name }).check();
  await p.getByRole("button", { name: "Disable…" }).click();
  await dialog.getByText("of 2 hosts, expressions included").waitFor();
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await p.getByLabel("Environment").selectOption("staging");
  await expect.poll(() => fake.writes.pop()).toMatchObject({ method: "PUT", path: "/host/env", body: { ids: [1, 3], env: "staging" } });

  // Ended, and refused.
  await now.getByRole("button", { name: "End now: web-002.bj" }).click();
  await now.getByText("web-002.bj").waitFor({ state: "detached" });
  await now.getByRole("button", { name: "End now: df.bytes.free.percent web-003.bj" }).click();
  await now.getByText("you don't have permission").waitFor();

  // A strategy on one host; one that is hidden says so and by whom.
  await p.goto("/hosts/3");
  await p.locator("main [title*='disk is swapped']").getByText("disabled until").waitFor();
  await p.getByRole("button", { name: "Disable on this host: load.1minPerCPU" }).click();
  await dialog.getByRole("button", { name: "Disable", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
  expect(fake.writes.pop()).toMatchObject({ path: "/alarm/disable", body: { type: 4, strategy_id: 2, host_id: 3, duration: "1h" } });
  await p.getByLabel("Environment").selectOption("prod");
  await expect.poll(() => fake.writes.pop()).toMatchObject({ path: "/host/env", body: { ids: [3], env: "prod" } });

  // A template, its strategy, its binding.
  await p.goto("/templates/2");
  for (const [button, body] of [
    ["Disable…", { type: 2, tpl_id: 2 }], ["Disable…: load.1minPerCPU", { type: 3, strategy_id: 2 }], ["Disable…: all · production", { type: 5, tpl_id: 2, grp_id: 1 }],
  ] as const) {
    await p.getByRole("button", { name: button, exact: true }).click();
    await dialog.getByText("Hidden rules: 2, on hosts: 3").waitFor();
    if (body.type === 5) await dialog.getByText("In force instead:").waitFor();
    await dialog.getByRole("button", { name: "Disable", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    expect(fake.writes.pop()).toMatchObject({ path: "/alarm/disable", body });
  }

  // Bindings for one environment.
  await p.getByLabel("hosts of which environment").selectOption("test");
  await p.getByLabel("bind a host group").selectOption("shop.web");
  await expect.poll(() => fake.writes.pop()).toMatchObject({ method: "POST", path: "/hostgroup/template", body: { tpl_id: 2, grp_id: 2, env: "test" } });
  await p.getByRole("button", { name: "Remove: all · production" }).click();
  await expect.poll(() => fake.writes.pop()).toMatchObject({ method: "PUT", path: "/hostgroup/template", body: { tpl_id: 2, grp_id: 1, env: "prod" } });
  expect(complaints.get(p)?.filter((c) => !c.includes("400"))).toEqual([]);
  await done(p);

  // All of it on a phone, in the dark, in Chinese.
  const phone = await page({ lang: "zh", dark: true, width: 360, height: 740, touch: true });
  await useFake(phone);
  await phone.goto("/templates/2");
  await phone.getByRole("button", { name: "屏蔽…: all · 生产" }).click();
  await phone.getByText("取而代之生效的").waitFor();
  expect(await overflow(phone)).toBeLessThanOrEqual(0);
  expect(await wrong(phone)).toEqual([]);
  await done(phone);
});

test("a chart leads to a rule for its counter", async () => {
  const p = await page();
  await useFake(p);
  await p.goto("/explore?e=web-001.bj&c=df.bytes.free.percent/fstype=ext4,mount=/&t=df.bytes.free.percent<10&live=0");
  await drawn(p, "article");
  expect(await wrong(p)).toEqual([]);
  await p.getByRole("button", { name: "df.bytes.free.percent < 10" }).click();
  await p.waitForURL((u) => u.searchParams.get("t") === null);
  await p.getByRole("link", { name: "Create a rule" }).click();
  await p.getByText("Choose the template that gets a rule for").waitFor();
  expect(await wrong(p)).toEqual([]);
  await p.getByRole("link", { name: "web.disk" }).first().click(); // the list of what is disabled has it, too
  const form = p.locator(".strategy-form");
  await expect.poll(() => form.locator("[name=metric]").inputValue()).toBe("df.bytes.free.percent");
  expect(await form.locator("[name=tags]").inputValue()).toBe("fstype=ext4,mount=/");
  await done(p);
});

test("the search finds templates and groups, too", async () => {
  const p = await page();
  await useFake(p);
  await p.goto("/alarms");
  await p.getByText("mysql-03.sh").waitFor();
  await p.keyboard.press("/");
  await p.keyboard.type("disk");
  await p.locator(".option.place").getByText("web.disk").waitFor();
  expect(await p.locator(".option.place").count()).toBe(1);
  expect(await wrong(p)).toEqual([]);
  await p.keyboard.press("ArrowUp"); // all endpoints
  await p.keyboard.press("ArrowUp");
  await p.keyboard.press("Enter");
  await p.waitForURL("**/templates/2");
  await p.keyboard.press("/");
  await p.keyboard.type("shop");
  await p.locator(".option.place").getByText("shop.web").click();
  await p.waitForURL("**/hostgroups/2");
  await done(p);
});

test("members of a group are changed after a look at what changes", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/hostgroups/2?mode=replace");
  await p.locator("textarea").fill("web-001.bj\nnew-1, new-2");
  await p.getByText("Then 3 members, 1 of them unchanged.").waitFor();
  await p.locator(".names").getByText("new-1 not known before").waitFor();
  await p.locator(".names").getByText("web-002.bj").waitFor();
  expect(fake.writes).toEqual([]);
  await p.getByRole("button", { name: "Replace, 3 then" }).click();
  await p.getByText("Saved").waitFor();
  expect(fake.writes.map((w) => w.body)).toEqual([{ mode: "replace", hosts: ["web-001.bj", "new-1", "new-2"], dry_run: false }]);
  await p.getByLabel("bind a template").selectOption("host.basics");
  await expect.poll(() => fake.writes.at(-1)?.body).toEqual({ tpl_id: 1, grp_id: 2 });
  expect(signed(fake)).toBe(true);
  await done(p);
});

test.each([["en", false], ["zh", true]] as const)("the hosts' page says in %s how another host joins, or why none can", async (lang, phone) => {
  const p = await page(phone ? { lang, width: 390, height: 844, touch: true } : { lang });
  const fake = await useFake(p);
  const dialog = p.locator("dialog.dialog");
  const add = p.getByRole("button", { name: lang === "zh" ? "添加主机" : "Add a host" });
  await p.goto("/hosts");
  await add.click();
  await dialog.getByText("curl -fsS http://10.0.0.1:8080/api/v1/join | sudo sh").waitFor();
  expect(await p.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  const shots = process.env["FALCON_TEST_SHOTS"];
  if (shots) await p.screenshot({ path: `${shots}/join-${lang}.png` });
  await dialog.getByRole("button", { name: lang === "zh" ? "关闭" : "Close" }).click();
  await dialog.waitFor({ state: "detached" });
  fake.plain = true;
  await add.click();
  await dialog.getByText("this Falcon listens on its own machine only").waitFor();
  expect(await wrong(p)).toEqual([]);
  await done(p);
});

test("hosts go into maintenance, and out of it", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/hosts");
  await p.getByRole("checkbox", { name: "web-001.bj" }).click();
  await p.getByLabel("Maintenance…").selectOption("3600");
  await p.getByText("Saved").waitFor();
  const set = fake.writes[0]?.body as { ids: number[]; maintain_begin: number; maintain_end: number };
  expect(set.ids).toEqual([1]);
  expect(set.maintain_end - set.maintain_begin).toBe(3600);
  await p.getByRole("link", { name: "web-003.bj" }).first().click();
  await p.getByText("In maintenance: nothing is judged.").waitFor();
  await p.getByRole("button", { name: "End maintenance" }).click();
  await expect.poll(() => fake.writes[1]).toMatchObject({ method: "DELETE", path: "/host/maintain", body: { ids: [3] } });
  expect(signed(fake)).toBe(true);
  await done(p);
});

test("a channel is tested, and its provider's answer shown", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/channels");
  await p.getByRole("button", { name: "Send a test: mail" }).click();
  await p.getByRole("button", { name: "Send a test", exact: true }).click();
  await p.getByText("535 5.7.8 authentication failed").waitFor();
  await p.getByRole("button", { name: "New channel" }).click();
  const form = p.locator("dialog.dialog");
  await form.locator("[name=name]").fill("chat");
  await form.locator("[name=type]").selectOption("webhook");
  await form.locator("[name=url]").fill("https://chat.example.com/hook");
  await form.locator("[name=headers]").fill("X-Key: secret");
  await form.getByRole("button", { name: "Send a test" }).click();
  await form.getByText("200 OK").waitFor();
  await form.getByRole("button", { name: "Create" }).click();
  await form.waitFor({ state: "detached" });
  const config = { url: "https://chat.example.com/hook", headers: { "X-Key": "secret" } };
  expect(fake.writes.map((w) => [w.path, w.body])).toEqual([
    ["/alarm/channels/2/test", { receiver: "root" }],
    ["/alarm/channels/test", { name: "chat", type: "webhook", config, receiver: "root" }],
    ["/alarm/channels", { name: "chat", type: "webhook", config, enabled: true }],
  ]);
  await p.getByRole("checkbox", { name: "Enabled: mail" }).click();
  await expect.poll(() => fake.writes.at(-1)).toMatchObject({ method: "PUT", path: "/alarm/channels/2", body: { enabled: false, config: { password: "***" } } });
  expect(signed(fake)).toBe(true);
  await done(p);
});

test("who is no administrator looks at channels, and changes nothing", async () => {
  const p = await page();
  const fake = await useFake(p);
  fake.plain = true;
  await p.goto("/channels?do=2&test=2");
  await p.getByText("Only administrators see and change how channels are set up.").waitFor();
  expect(await p.locator("main button, dialog.dialog, tr.flat").count()).toBe(0);
  expect(await p.getByRole("checkbox", { name: "Enabled: mail" }).isDisabled()).toBe(true);
  await p.goto("/teams?s=users&do=new");
  await p.getByText("anna@example.com").waitFor();
  expect(await p.locator("dialog.dialog").count()).toBe(0);
  expect(await p.locator("main button").evaluateAll((all) => all.map((b) => b.getAttribute("aria-label")))).toEqual(["Edit: anna"]); // herself
  await done(p);
});

test("a team gets a member, and an administrator makes a user", async () => {
  const p = await page();
  const fake = await useFake(p);
  await p.goto("/teams");
  await p.getByRole("button", { name: "Edit: ops" }).click();
  await p.locator("dialog").getByText("BO").click();
  await p.getByRole("button", { name: "Save" }).click();
  await expect.poll(() => fake.writes.at(-1)?.body).toEqual({ team_id: 1, name: "ops", resume: "on call", users: [1, 2, 3] });
  await p.getByRole("link", { name: "Users" }).click();
  await p.getByRole("button", { name: "New user" }).click();
  for (const [name, value] of [["name", "eve"], ["cnname", "Eve"], ["password", "a long one"], ["email", "eve@example.com"]] as const) await p.locator(`dialog [name=${name}]`).fill(value);
  await p.getByRole("button", { name: "Create" }).click();
  await expect.poll(() => fake.writes.at(-1)).toMatchObject({ path: "/user/create", body: { name: "eve", cnname: "Eve", password: "a long one", email: "eve@example.com" } });
  await p.getByRole("button", { name: "Edit: bo" }).click();
  await p.locator("dialog [name=phone]").fill("123");
  await p.locator("dialog [name=new]").fill("another long one");
  await p.getByRole("button", { name: "Save" }).click();
  await expect.poll(() => fake.writes.slice(-2).map((w) => [w.path, w.body])).toEqual([
    ["/admin/change_user_profile", { user_id: 3, cnname: "BO", email: "bo@example.com", phone: "123", im: "", qq: "" }],
    ["/admin/change_user_passwd", { user_id: 3, password: "another long one" }],
  ]);
  await p.getByRole("button", { name: "Account of root" }).click();
  await p.getByRole("button", { name: "Profile and password" }).click();
  await p.locator("dialog [name=email]").fill("root@example.org");
  await p.getByRole("button", { name: "Save" }).click();
  await expect.poll(() => fake.writes.at(-1)).toMatchObject({ path: "/user/update", body: { email: "root@example.org" } });
  await p.getByRole("button", { name: "Delete: bo" }).click();
  await p.locator("dialog").getByRole("button", { name: "Delete" }).click();
  await expect.poll(() => fake.writes.at(-1)).toMatchObject({ method: "DELETE", path: "/admin/delete_user", body: { user_id: 3 } });
  expect(signed(fake)).toBe(true);
  await done(p);
});

test("a phone has the same menu, and the choices that its bar has no room for", async () => {
  const p = await page({ width: 360, height: 740, touch: true });
  await useFake(p);
  await p.goto("/hosts");
  await p.getByRole("button", { name: "Menu" }).tap();
  await p.getByRole("link", { name: "Templates" }).tap();
  await p.getByText("web.disk").first().waitFor();
  await p.getByRole("button", { name: "Account of root" }).tap();
  await p.getByRole("button", { name: "中文" }).tap();
  await p.getByText("父模板").waitFor();
  await p.getByRole("button", { name: "2 条未读消息" }).tap();
  await p.locator(".inbox").getByText("mysql-03.sh").waitFor();
  expect(await overflow(p)).toBeLessThanOrEqual(0);
  expect(await wrong(p)).toEqual([]);
  await done(p);
});

test("links of the former dashboard lead to where their pages are now", async () => {
  const p = await page();
  await useFake(p);
  for (const [from, to] of [["/portal/template/view/2", "/templates/2"], ["/portal/template?q=disk&p=1", "/templates?q=disk"], ["/portal/hostgroup", "/hostgroups"], ["/portal/expression", "/expressions"], ["/portal/expression/view/1", "/expressions?edit=1"], ["/portal/alarm-dash/case", "/alarms"], ["/portal/alarm-dash/case/event?case_id=s_41_a", "/alarms?id=s_41_a"]] as const) {
    await p.goto(from);
    await p.waitForURL((u) => u.pathname + u.search === to);
  }
  await done(p);
});
