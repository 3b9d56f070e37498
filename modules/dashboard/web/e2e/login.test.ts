import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { complaints, done, logIn, page, useBrowser } from "./world";

useBrowser();

const said = (p: Page) => p.locator(".said");

test("a stranger is asked for name and password, and sees the page he came for", async () => {
  const p = await page({ stranger: true });
  await p.goto("/explore?q=e2e&r=6h");
  await p.waitForSelector("form");
  expect(await p.evaluate(() => document.activeElement?.getAttribute("name"))).toBe("username");
  expect(complaints.get(p)).toEqual([]);
  await logIn(p);
  await p.waitForSelector(".explore");
  expect(new URL(p.url()).search).toBe("?q=e2e&r=6h");
  expect(await p.locator(".toolbar .segment button[aria-pressed=true]").first().textContent()).toBe("6h");
  // The session holds over a reload, and scripts can not see it.
  await p.reload();
  await p.waitForSelector(".explore");
  expect(await p.evaluate(() => document.cookie)).toBe("");
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});

test("a wrong password and a wrong name are told alike, in words, and the field is ready for another try", async () => {
  const p = await page({ stranger: true });
  await p.goto("/");
  await logIn(p, "root", "wrong");
  await said(p).getByText("Name or password is wrong.").waitFor();
  expect(await p.evaluate(() => document.activeElement?.getAttribute("name"))).toBe("password");
  await logIn(p, "nobody", "wrong");
  await said(p).getByText("Name or password is wrong.").waitFor();
  await p.getByRole("button", { name: "中文" }).click();
  await said(p).getByText("用户名或密码错误。").waitFor();
  await done(p);
});

test("blank fields are not sent", async () => {
  const p = await page({ stranger: true });
  const sent: string[] = [];
  p.on("request", (r) => r.url().includes("/user/login") && sent.push(r.url()));
  await p.goto("/");
  await p.fill("input[name=username]", "root");
  await p.press("input[name=username]", "Enter");
  await said(p).getByText("Enter name and password.").waitFor();
  expect(await p.evaluate(() => document.activeElement?.getAttribute("name"))).toBe("password");
  expect(sent).toEqual([]);
  await done(p);
});

test("whoever fails too often waits, and is told how long", async () => {
  const p = await page({ stranger: true });
  await p.goto("/");
  await p.waitForSelector("form");
  // The name has ten tries; it is nobody's, so nobody is locked out.
  for (let i = 0; i < 10; i++) {
    await p.evaluate(async () => {
      await fetch("/api/v1/user/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name: "guesser", password: "x" }) });
    });
  }
  await logIn(p, "guesser", "y");
  await said(p).getByText(/Too many logins failed. Try again in \d+ s\./).waitFor();
  expect(await p.locator("button[type=submit]").isDisabled()).toBe(true);
  // It counts down and lets him try again.
  await said(p).getByText("You can try again now.").waitFor();
  expect(await p.locator("button[type=submit]").isDisabled()).toBe(false);
  await done(p);
});

test("Caps Lock and the way back from a forgotten password are told", async () => {
  const p = await page({ stranger: true });
  await p.goto("/");
  await p.getByText("falcon passwd NAME").waitFor();
  await p.evaluate(() => document.querySelector("input[name=password]")?.dispatchEvent(new KeyboardEvent("keyup", { key: "A", modifierCapsLock: true, bubbles: true })));
  await p.getByText("Caps Lock is on.").waitFor();
  await done(p);
});

test("logging out ends the session, here and on the server", async () => {
  const p = await page({ stranger: true });
  await p.goto("/explore");
  await logIn(p);
  await p.getByRole("button", { name: "Account of root" }).click();
  const cookies = await p.context().cookies();
  await p.getByRole("button", { name: "Log out" }).click();
  await p.waitForSelector("form");
  expect(await p.context().cookies()).toEqual([]);
  await p.context().addCookies(cookies);
  expect((await p.context().request.get("/api/v1/user/current")).status()).toBe(401);
  await done(p);
});

test("a session that ends in the middle leads to the login and back to the same place", async () => {
  const p = await page({ stranger: true });
  await p.goto("/explore?q=e2e");
  await logIn(p);
  await p.waitForSelector(".explore");
  await p.context().clearCookies();
  await p.keyboard.press("r");
  await p.waitForSelector("form");
  expect(new URL(p.url()).search).toBe("?q=e2e");
  await logIn(p);
  await p.waitForSelector(".explore");
  await done(p);
});

test("without a server the page says so and tries again", async () => {
  const p = await page();
  await p.route("**/api/v1/user/**", (r) => r.abort());
  await p.goto("/explore");
  await p.getByText("The server does not answer.").waitFor();
  await p.unroute("**/api/v1/user/**");
  await p.getByRole("button", { name: "Try again" }).click();
  await p.waitForSelector(".explore");
  await done(p);
});
