import { expect, test } from "vitest";
import { cleaned, headerLines, leadsTo, parseHeaders } from "./channelconfig";

test("headers are lines, and come back", () => {
  expect(parseHeaders("Authorization: Bearer a:b\n\n X-Key :  1 ")).toEqual({ Authorization: "Bearer a:b", "X-Key": "1" });
  expect(parseHeaders(headerLines({ A: "b", C: "***" }))).toEqual({ A: "b", C: "***" });
  expect(parseHeaders("no header")).toBeNull();
  expect(parseHeaders("")).toEqual({});
  expect(headerLines(undefined)).toBe("");
});

test("a configuration holds what its type knows", () => {
  expect(cleaned("webhook", { url: " http://x ", headers: {}, timeout: "", server: "y" })).toEqual({ url: "http://x" });
  expect(cleaned("mail", { server: "s:25", from: "a@b", password: " p " })).toEqual({ server: "s:25", from: "a@b", password: " p ", tls: "starttls", skip_verify: false });
  expect(cleaned("inbox", { url: "x" })).toEqual({});
  expect(cleaned("unknown", { url: "x" })).toEqual({});
});

test("where a channel leads", () => {
  expect(leadsTo("mail", { server: "s:25", from: "a@b" })).toBe("a@b → s:25");
  expect(leadsTo("webhook", { url: "http://x" })).toBe("http://x");
  expect(leadsTo("inbox", {})).toBe("");
});
