import { expect, test } from "vitest";
import { pastedNames, toQuery } from "./search";

test.each([
  ["", "."],
  ["   ", "."],
  ["web", "web"],
  [" web  bj ", "web bj"],
  ["web -canary", "web !canary"],
  ["web !canary", "web !canary"],
  ["-canary", "!canary"],
  ["web-001", "web-001"],
  ["- ! |", "."],
  ["web|db", "web|db"],
  ["web | db bj", "web|db bj"],
  ["web|", "web"],
  ["|web", "web"],
  ["^web-\\d+$", "^web-\\d+$"],
  ["-a|b", "!a|b"],
])("toQuery(%j) = %j", (text, want) => expect(toQuery(text)).toBe(want));

test.each([
  ["web-1", []],
  ["web-1 web-2", []], // two words are a search
  ["web-1\nweb-2\n", ["web-1", "web-2"]],
  ["web-1, web-2;web-1", ["web-1", "web-2"]],
  ["\n web-1 \n", []],
])("pastedNames(%j) = %j", (text, want) => expect(pastedNames(text)).toEqual(want));
