import axe from "axe-core";
import type { Page } from "playwright-core";
import { beforeAll, expect, test } from "vitest";
import { complaints, done, drawn, logIn, makeData, page, row, useBrowser } from "./world";

useBrowser();
beforeAll(makeData);

const view = "/explore?q=e2e&e=e2e-01&e=e2e-02&c=cpu.busy&c=mem.memused&live=0";
const cpu = 'article[data-key="c:cpu.busy"]';

/** What axe finds wrong, in words. */
async function wrong(p: Page): Promise<string[]> {
  await p.evaluate(axe.source);
  return p.evaluate(async () => {
    const found = await (window as unknown as { axe: typeof axe }).axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] });
    return found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).slice(0, 3).join("; ")}`);
  });
}

const overflow = (p: Page) => p.evaluate(() => document.documentElement.scrollWidth - innerWidth);

test("the language changes without a reload, and is kept", async () => {
  const p = await page({ lang: "zh" });
  await p.goto(view);
  await drawn(p, cpu);
  expect(await p.evaluate(() => document.documentElement.lang)).toBe("zh-CN");
  await p.getByText("12 / ").first().waitFor();
  await p.getByRole("button", { name: "按主机" }).waitFor();
  await p.evaluate(() => ((window as unknown as { mine: boolean }).mine = true));
  await p.getByRole("button", { name: "English" }).click();
  await p.getByRole("button", { name: "by host" }).waitFor();
  expect(await p.evaluate(() => (window as unknown as { mine?: boolean }).mine)).toBe(true);
  expect(await p.evaluate(() => document.documentElement.lang)).toBe("en");
  await p.reload();
  await p.getByRole("button", { name: "by host" }).waitFor();
  await done(p);
});

test("the theme follows the system until somebody chooses, and charts follow the theme", async () => {
  const p = await page({ dark: true });
  await p.goto(view);
  await drawn(p, cpu); // in the dark theme's first colour
  expect(await p.evaluate(() => document.documentElement.dataset["theme"])).toBe("dark");
  await p.emulateMedia({ colorScheme: "light" });
  await drawn(p, cpu);
  expect(await p.evaluate(() => document.documentElement.dataset["theme"])).toBe("light");
  await p.getByRole("button", { name: "Dark" }).click();
  await drawn(p, cpu);
  await p.reload();
  await drawn(p, cpu);
  expect(await p.evaluate(() => document.documentElement.dataset["theme"])).toBe("dark");
  await done(p);
});

for (const lang of ["en", "zh"] as const) {
  for (const [width, height] of [[360, 740], [768, 1024], [1024, 700], [1440, 860], [3840, 2160]] as const) {
    test(`nothing sticks out at ${width} px in ${lang}`, async () => {
      const p = await page({ lang, width, height, touch: width < 760 });
      await p.goto(view);
      await drawn(p, cpu);
      expect(await overflow(p)).toBeLessThanOrEqual(0);
      // Nor is any control wrapped into two lines.
      const tall = await p.evaluate(() => [...document.querySelectorAll("button")].filter((b) => b.offsetParent !== null && b.getBoundingClientRect().height > 48).map((b) => b.textContent));
      expect(tall).toEqual([]);
      for (const pane of ["endpoints", "counters"]) {
        await p.goto(view + "&pane=" + pane);
        await row(p, pane === "endpoints" ? "endpoint" : "counter", pane === "endpoints" ? "e2e-01" : "cpu.busy").waitFor();
        expect(await overflow(p), pane).toBeLessThanOrEqual(0);
      }
      expect(complaints.get(p)).toEqual([]);
      await done(p);
    });
  }
}

test("a phone goes step by step, and a tap adds", async () => {
  const p = await page({ width: 360, height: 740, touch: true });
  await p.goto("/explore?q=e2e");
  await row(p, "endpoint", "e2e-01").tap();
  await p.getByRole("button", { name: "Endpoints" }).tap();
  await row(p, "endpoint", "e2e-02").tap();
  await p.getByRole("button", { name: "Counters" }).tap();
  await row(p, "counter", "cpu.busy").tap();
  await p.getByRole("button", { name: "Charts 2" }).tap();
  await drawn(p, cpu);
  const size = await row(p, "endpoint", "e2e-01").evaluate((e) => parseInt((e as HTMLElement).style.height, 10));
  expect(size).toBe(44);
  await done(p);
});

for (const dark of [false, true]) {
  const theme = dark ? "dark" : "light";
  test(`axe finds nothing in Explore, ${theme}`, async () => {
    const p = await page({ dark });
    await p.goto(view);
    await drawn(p, cpu);
    await row(p, "counter", "cpu.busy").waitFor();
    expect(await wrong(p)).toEqual([]);
    await p.keyboard.press("?");
    await p.getByRole("heading", { name: "Keys" }).waitFor();
    expect(await wrong(p)).toEqual([]);
    await done(p);
  });

  test(`axe finds nothing in the login and the other pages, ${theme}`, async () => {
    const p = await page({ dark, stranger: true });
    await p.goto("/screen/1");
    await logIn(p, "root", "wrong");
    await p.getByText("Name or password is wrong.").waitFor();
    expect(await wrong(p)).toEqual([]);
    await logIn(p);
    await p.getByText("This page is not there yet").waitFor();
    expect(await wrong(p)).toEqual([]);
    await p.goto("/explore");
    await p.getByText("Choose endpoints and counters").waitFor();
    expect(await wrong(p)).toEqual([]);
    await done(p);
  });

  test(`axe finds nothing on a phone, ${theme}`, async () => {
    const p = await page({ dark, width: 360, height: 740, touch: true, lang: "zh" });
    await p.goto(view);
    await drawn(p, cpu);
    expect(await wrong(p)).toEqual([]);
    await done(p);
  });

  test(`every line colour and every text has 4.5:1 on its ground, ${theme}`, async () => {
    const p = await page({ dark });
    await p.goto(view);
    await drawn(p, cpu);
    const ratios = await p.evaluate(() => {
      const probe = document.body.appendChild(document.createElement("i"));
      const light = (name: string) => {
        probe.style.color = `var(${name})`;
        const [r, g, b] = (getComputedStyle(probe).color.match(/\d+(\.\d+)?/g) ?? []).map((n) => {
          const c = Number(n) / 255;
          return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        }) as [number, number, number];
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ratio = (a: string, b: string) => {
        const [x, y] = [light(a), light(b)];
        return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
      };
      const lines = Array.from({ length: 10 }, (_, i) => "--line-" + (i + 1));
      const pairs = [
        ...[...lines, "--axis", "--ink", "--ink-2", "--ink-3", "--accent"].map((c) => [c, "--surface"] as const),
        ...["--ink", "--ink-2", "--ink-3", "--accent"].map((c) => [c, "--bg"] as const),
        ["--ink", "--chosen"], ["--ink-2", "--chosen"], ["--accent-ink", "--accent"], ["--bad", "--bad-bg"], ["--warn", "--warn-bg"],
      ] as const;
      const out = Object.fromEntries(pairs.map(([a, b]) => [`${a} on ${b}`, ratio(a, b)]));
      probe.remove();
      return out;
    });
    expect(Object.keys(ratios).length).toBeGreaterThan(20);
    expect(Object.entries(ratios).filter(([, r]) => !(r >= 4.5))).toEqual([]);
    await done(p);
  });
}

test("addresses of the former dashboard are answered in both languages", async () => {
  for (const path of ["/portal/links/1a2b3c", "/screen/12", "/chart/big?id=7"]) {
    const p = await page({ lang: "zh" });
    const answer = await p.goto(path);
    expect(answer?.status(), path).toBe(200);
    await p.getByText("此页面尚未提供").waitFor();
    await p.getByRole("button", { name: "English" }).click();
    await p.getByText("This page is not there yet").waitFor();
    expect(new URL(p.url()).pathname).toBe(path.split("?")[0]);
    await done(p);
  }
  const p = await page();
  expect((await p.goto("/nowhere"))?.status()).toBe(404);
  await p.getByText("The address /nowhere leads nowhere.").waitFor();
  await p.getByRole("link", { name: "Go to Explore" }).click();
  await p.waitForURL("**/explore");
  await done(p);
});

test("the first load is small, from one origin, and kept by the browser", async () => {
  const p = await page();
  const sizes: [string, number][] = [];
  p.on("response", async (r) => {
    if (!r.url().includes("/api/")) sizes.push([r.url(), Number((await r.allHeaders())["content-length"] ?? 0)]);
  });
  await p.goto(view);
  await drawn(p, cpu);
  expect(sizes.length).toBeGreaterThanOrEqual(3);
  expect(sizes.filter(([url]) => !url.startsWith(p.url().split("/").slice(0, 3).join("/")))).toEqual([]);
  const total = sizes.reduce((sum, [, n]) => sum + n, 0);
  expect(total).toBeGreaterThan(10_000);
  expect(total).toBeLessThanOrEqual(120 * 1024);
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});
