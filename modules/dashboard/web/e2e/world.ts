// What the browser tests share: one browser, a context for each test, the fleet's
// addresses, and points to look at.
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, vi } from "vitest";

const need = (name: string): string => {
  const v = process.env[name];
  if (!v) throw new Error(`${name} is not set: run scripts/browser.sh`);
  return v;
};

export const base = need("FALCON_TEST_URL").replace(/\/$/, "");
export const push = need("FALCON_TEST_PUSH");
const password = need("FALCON_TEST_PASSWORD");

let browser: Browser;
let cookies: Awaited<ReturnType<BrowserContext["cookies"]>> = [];
const open = new Set<BrowserContext>();

/** Starts the browser for the tests of a file. */
export function useBrowser(): void {
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: process.env["FALCON_TEST_CHROMIUM"] ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
    const c = await browser.newContext();
    const answer = await c.request.post(base + "/api/v1/user/login", { headers: { "X-Requested-With": "falcon" }, data: { name: "root", password } });
    expect(answer.status(), await answer.text()).toBe(200);
    cookies = await c.cookies();
    await c.close();
  });
  afterAll(async () => {
    for (const c of open) await c.close();
    await browser.close();
  });
}

export interface Look {
  width?: number;
  height?: number;
  lang?: "en" | "zh";
  dark?: boolean;
  touch?: boolean;
  /** Not logged in. */
  stranger?: boolean;
}

/** What a page has complained of. */
export const complaints = new WeakMap<Page, string[]>();

/** A page of its own: nothing is shared with other tests but the fleet. */
export async function page(look: Look = {}): Promise<Page> {
  const c = await browser.newContext({
    baseURL: base,
    viewport: { width: look.width ?? 1440, height: look.height ?? 860 },
    locale: look.lang === "zh" ? "zh-CN" : "en-US",
    colorScheme: look.dark ? "dark" : "light",
    hasTouch: look.touch ?? false,
    isMobile: look.touch ?? false,
  });
  open.add(c);
  if (!look.stranger) {
    await c.addCookies(cookies);
    await c.addInitScript(() => localStorage.getItem("falcon.in") ?? localStorage.setItem("falcon.in", "1"));
  }
  const p = await c.newPage();
  p.setDefaultTimeout(15_000);
  const said: string[] = [];
  complaints.set(p, said);
  p.on("console", (m) => {
    if (m.type() === "error" || m.type() === "warning") said.push(m.text());
  });
  p.on("pageerror", (e) => said.push(String(e)));
  return p;
}

export async function done(p: Page): Promise<void> {
  const c = p.context();
  open.delete(c);
  await c.close();
}

/** Logs in by the form that is on screen. */
export async function logIn(p: Page, name = "root", secret = password): Promise<void> {
  await p.fill("input[name=username]", name);
  await p.fill("input[name=password]", secret);
  await p.click("button[type=submit]");
}

export const list = (p: Page, which: "endpoint" | "counter") => p.locator(`#${which}-list [role=option]`);
export const row = (p: Page, which: "endpoint" | "counter", name: string) => p.locator(`#${which}-list [role=option][data-name="${name}"]`);

/** Waits until the chart of a card has lines drawn in it: pixels that are neither grid nor text. */
export async function drawn(p: Page, card: string): Promise<void> {
  await p.locator(card).scrollIntoViewIfNeeded();
  await p.waitForFunction(
    (sel) => {
      const canvas = document.querySelector<HTMLCanvasElement>(sel + " canvas");
      if (!canvas || canvas.width === 0) return false;
      const want = getComputedStyle(document.documentElement).getPropertyValue("--line-1").trim();
      const [r, g, b] = [1, 3, 5].map((i) => parseInt(want.slice(i, i + 2), 16)) as [number, number, number];
      const d = (canvas.getContext("2d") as CanvasRenderingContext2D).getImageData(0, 0, canvas.width, canvas.height).data;
      let n = 0;
      for (let i = 0; i < d.length; i += 4) {
        if (d[i + 3] === 255 && Math.abs((d[i] as number) - r) < 12 && Math.abs((d[i + 1] as number) - g) < 12 && Math.abs((d[i + 2] as number) - b) < 12) n++;
      }
      return n > 40;
    },
    card,
  );
}

/** Pushes an hour of points for hosts e2e-01 to e2e-12 and one called other, and waits until they are found. */
export async function makeData(): Promise<void> {
  const now = Math.floor(Date.now() / 1000);
  const t0 = now - (now % 60);
  const items: object[] = [];
  const hosts = [...Array.from({ length: 12 }, (_, i) => "e2e-" + String(i + 1).padStart(2, "0")), "other"];
  hosts.forEach((endpoint, h) => {
    for (let k = 60; k >= 0; k--) {
      const timestamp = t0 - k * 60;
      const add = (metric: string, value: number, counterType: string, tags: string) => items.push({ endpoint, metric, value, timestamp, step: 60, counterType, tags });
      if (h !== 1 || k < 20 || k > 30) add("cpu.busy", Math.round(500 + 300 * Math.sin(k / 8 + h)) / 10, "GAUGE", "");
      add("mem.memused", (8 + h) * 2 ** 30 + k * 2 ** 20, "GAUGE", "");
      add("net.if.in.bits", (60 - k) * 6e7 * (h + 1), "COUNTER", "iface=eth0");
      add("df.bytes.free", 5e10, "GAUGE", "fstype=ext4,mount=/data");
    }
  });
  for (let i = 0; i < items.length; i += 1000) {
    const resp = await fetch(push + "?wait=1", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(items.slice(i, i + 1000)) });
    if (!resp.ok) throw new Error(`push: ${resp.status} ${await resp.text()}`);
  }
  const c = await browser.newContext({ baseURL: base });
  await c.addCookies(cookies);
  await vi.waitFor(
    async () => expect((await c.request.get("/api/v1/graph/endpoint?q=^(e2e-|other$)")).headers()["x-falcon-total"]).toBe(String(hosts.length)),
    { timeout: 15_000, interval: 100 },
  );
  await c.close();
}
