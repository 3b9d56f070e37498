// Combined rules: made, changed and dissolved on the page of a template.
import { mkdirSync } from "node:fs";
import { expect, test } from "vitest";
import { base, complaints, done, page, useBrowser } from "./world";

useBrowser();

const shots = process.env["FALCON_TEST_SHOTS"] ?? "";

test("strategies are combined, changed and dissolved", { timeout: 120_000 }, async () => {
  const p = await page();
  const dialog = p.locator("dialog.dialog");
  const name = "e2e-union-" + Date.now();
  await p.goto("/templates?do=new");
  await dialog.locator("input").fill(name);
  await dialog.getByRole("button", { name: "Create" }).click();
  await p.waitForURL(/\/templates\/\d+$/);
  const tpl = new URL(p.url()).pathname;

  const form = p.locator(".strategy-form");
  for (const metric of ["cpu.idle", "load.1min", "mem.memfree.percent"]) {
    await p.getByRole("button", { name: "New strategy" }).click();
    await form.locator("[name=metric]").fill(metric);
    await form.locator("[name=right_value]").fill("5");
    await form.getByRole("button", { name: "Add strategy" }).click();
    await p.locator(".grid").getByText(metric, { exact: true }).waitFor();
  }

  // Two of them.
  await p.getByRole("button", { name: "Combine strategies" }).click();
  await dialog.locator("[name=name]").fill("starving");
  const save = dialog.getByRole("button", { name: "Save", exact: true });
  await dialog.locator(".choices").getByText("cpu.idle").click();
  expect(await save.isDisabled()).toBe(true); // one is no combination
  await dialog.locator(".choices").getByText("load.1min").click();
  if (shots) {
    mkdirSync(shots, { recursive: true });
    await p.screenshot({ path: shots + "/union-dialog.png" });
  }
  await save.click();
  await dialog.waitFor({ state: "detached" });
  const list = p.locator(".union-list");
  await list.getByText("starving").waitFor();
  const row = (metric: string) => p.locator(".grid tr").filter({ has: p.locator(".main > .strike").getByText(metric, { exact: true }) });
  await row("cpu.idle").getByText("all of: cpu.idle, load.1min").waitFor();
  await row("load.1min").getByText("all of: cpu.idle, load.1min").waitFor();
  expect(await row("mem.memfree.percent").getByText("all of").count()).toBe(0);
  expect(await p.getByRole("button", { name: "Combine strategies" }).count()).toBe(0); // one is left

  // The third as well.
  await list.getByRole("button", { name: "Edit: starving" }).click();
  await dialog.locator(".choices").getByText("mem.memfree.percent").click();
  await save.click();
  await row("mem.memfree.percent").getByText("all of: cpu.idle, load.1min, mem.memfree.percent").waitFor();
  if (shots) await p.screenshot({ path: shots + "/unions.png", fullPage: true });

  // A strategy that is deleted leaves the others combined; one alone can not alarm.
  for (const metric of ["mem.memfree.percent", "load.1min"]) {
    await p.getByRole("button", { name: "Delete: " + metric }).click();
    await dialog.getByRole("button", { name: "Delete", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    await row(metric).waitFor({ state: "detached" });
  }
  await list.getByText("can not alarm: 1 of 2 conditions are there").waitFor();

  // A copy of the template has them, too.
  await p.reload();
  await list.getByRole("button", { name: "Dissolve: starving" }).click();
  await dialog.getByRole("button", { name: "Dissolve", exact: true }).click();
  await list.waitFor({ state: "detached" });
  await row("cpu.idle").waitFor();
  expect(await row("cpu.idle").getByText("all of").count()).toBe(0);
  await p.goto(tpl + "?do=delete");
  await dialog.getByRole("button", { name: "Delete", exact: true }).click();
  await p.waitForURL("**/templates");
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});

test("a copy of a template has its combined rules", { timeout: 120_000 }, async () => {
  const p = await page();
  const ask = async <T>(method: string, path: string, data?: unknown): Promise<T> => {
    const csrf = (await p.request.get(base + "/api/v1/user/auth_session")).headers()["x-falcon-csrf"] ?? "";
    const r = await p.request.fetch(base + "/api/v1" + path, { method, data, headers: { "X-Falcon-CSRF": csrf } });
    expect(r.status(), await r.text()).toBe(200);
    return (await r.json()) as T;
  };
  const name = "e2e-copied-" + Date.now();
  const tpl = (await ask<{ id: number }>("POST", "/template", { name, parent_id: 0, action_id: 0 })).id;
  const ids: number[] = [];
  for (const metric of ["cpu.idle", "load.1min"]) {
    ids.push((await ask<{ id: number }>("POST", "/strategy", { tpl_id: tpl, metric, tags: "", func: "all(#1)", op: "<", right_value: "5", max_step: 1, priority: 2, note: "", run_begin: "", run_end: "" })).id);
  }
  await ask("POST", "/union", { name: "both", strategy_ids: ids });
  await p.goto(`/templates/${tpl}?do=copy`);
  await p.locator("dialog.dialog input").fill(name + "-2");
  await p.locator("dialog.dialog").getByRole("button", { name: "Copy", exact: false }).click();
  await p.waitForURL((u) => /\/templates\/\d+$/.test(u.pathname) && !u.pathname.endsWith("/" + tpl));
  await p.locator(".union-list").getByText("both").waitFor();
  await p.locator(".grid").getByText("all of: cpu.idle, load.1min").first().waitFor();
  const copy = Number(new URL(p.url()).pathname.split("/")[2]);
  for (const id of [tpl, copy]) await ask("DELETE", "/template/" + id);
  await done(p);
});

test.each([["zh", false], ["en", true]] as const)("combined rules in %s on a phone", { timeout: 60_000 }, async (lang, dark) => {
  const p = await page({ lang, dark, width: 390, height: 844, touch: true });
  const csrf = (await p.request.get(base + "/api/v1/user/auth_session")).headers()["x-falcon-csrf"] ?? "";
  const ask = async <T>(method: string, path: string, data?: unknown) => (await (await p.request.fetch(base + "/api/v1" + path, { method, data, headers: { "X-Falcon-CSRF": csrf } })).json()) as T;
  const tpl = (await ask<{ id: number }>("POST", "/template", { name: `e2e-phone-${lang}-${Date.now()}`, parent_id: 0, action_id: 0 })).id;
  const ids: number[] = [];
  for (const metric of ["df.bytes.free.percent", "net.if.in.bits"]) {
    ids.push((await ask<{ id: number }>("POST", "/strategy", { tpl_id: tpl, metric, tags: "", func: "all(#1)", op: "<", right_value: "5", max_step: 1, priority: 2, note: "", run_begin: "", run_end: "" })).id);
  }
  await ask("POST", "/union", { name: "", strategy_ids: ids });
  await p.goto("/templates/" + tpl);
  await p.locator(".union-list").getByText(lang === "zh" ? "组合告警" : "Combined rule").waitFor();
  expect(await p.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  if (shots) await p.screenshot({ path: `${shots}/union-phone-${lang}.png`, fullPage: true });
  await ask("DELETE", "/template/" + tpl);
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});
