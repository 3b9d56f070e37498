import { expect, test } from "vitest";
import { defaults, formatView, maxChosen, paneOf, parseView, type View } from "./view";

test.each<[string, Partial<View>]>([
  ["the default is empty", {}],
  ["search", { q: "web|db -canary +x&y" }],
  ["names with every sign", { endpoints: ["web-1", "a b", "中文", "a&b=c#d?e%"], counters: ["df.bytes.free/fstype=ext4,mount=/", "cpu.idle"] }],
  ["a range", { range: "3d", by: "host", cf: "MAX", live: false }],
  ["a fixed range", { from: 1700000000, to: 1700003600 }],
  ["thresholds", { thresholds: [{ counter: "df.bytes.free/mount=/", op: "<", value: 10 }, { counter: "", op: ">=", value: -0.5 }] }],
  ["one chart alone, on a phone", { big: "c:cpu.idle", pane: "charts", m: "cpu" }],
])("%s comes back from its URL", (_, change) => {
  const v = { ...defaults, ...change };
  expect(parseView(formatView(v))).toEqual(v);
});

test("the default view has no query", () => expect(formatView(defaults)).toBe(""));
test("a URL is for people", () =>
  expect(formatView({ ...defaults, endpoints: ["web-1"], counters: ["df.bytes.free/fstype=ext4,mount=/"] })).toBe("?e=web-1&c=df.bytes.free/fstype=ext4,mount=/"));

test.each([
  ["?r=2y&by=x&cf=LAST&pane=y", {}],
  ["?from=5", {}],
  ["?from=9&to=5", {}],
  ["?from=a&to=b", {}],
  ["?t=x&t=<", {}],
  ["?e=&e=a&e=a", { endpoints: ["a"] }],
])("what makes no sense is not there: %s", (search, want) => expect(parseView(search)).toEqual({ ...defaults, ...want }));

test("a URL takes no more than a page can show", () => {
  const search = "?" + Array.from({ length: maxChosen + 9 }, (_, i) => "e=h" + i).join("&");
  expect(parseView(search).endpoints.length).toBe(maxChosen);
});

test("a phone shows the step that comes next", () => {
  expect(paneOf(defaults)).toBe("endpoints");
  expect(paneOf({ ...defaults, endpoints: ["a"] })).toBe("counters");
  expect(paneOf({ ...defaults, endpoints: ["a"], counters: ["b"] })).toBe("charts");
  expect(paneOf({ ...defaults, pane: "counters" })).toBe("counters");
});
