import { expect, test } from "vitest";
import { cut, group, maxPoints, maxSeries, splitCounter } from "./group";

const short = (g: ReturnType<typeof group>) => g.map((x) => [x.title, ...x.lines.map((l) => l.label + ":" + l.color)].join(" "));

test("by counter: a chart a counter, a line a host, one colour a host", () =>
  expect(short(group(["a", "b"], ["cpu", "df/mount=/"], "counter"))).toEqual(["cpu a:0 b:1", "df a:0 b:1"]));
test("by host: a chart a host", () => expect(short(group(["a", "b"], ["cpu", "df"], "host"))).toEqual(["a cpu:0 df:1", "b cpu:0 df:1"]));
test("all in one: every line of its own colour", () => expect(short(group(["a", "b"], ["cpu", "df"], "all"))).toEqual(["2 × 2 a cpu:0 a df:1 b cpu:2 b df:3"]));
test("all in one leaves out what all lines share", () => {
  expect(short(group(["a"], ["cpu", "df"], "all"))).toEqual(["a cpu:0 df:1"]);
  expect(short(group(["a", "b"], ["cpu"], "all"))).toEqual(["cpu a:0 b:1"]);
});
test("half a choice has no charts", () => {
  expect(group([], ["cpu"], "host")).toEqual([]);
  expect(group(["a"], [], "all")).toEqual([]);
});
test("keys tell charts apart, and stay when the choice grows", () => {
  const before = group(["a"], ["cpu"], "counter")[0];
  const after = group(["a", "b"], ["cpu", "mem"], "counter")[0];
  expect(before?.key).toBe(after?.key);
});

test.each([
  ["cpu.idle", "cpu.idle", ""],
  ["df.bytes/fstype=ext4,mount=/data", "df.bytes", "fstype=ext4,mount=/data"],
])("splitCounter(%s)", (counter, metric, tags) => expect(splitCounter(counter)).toEqual({ metric, tags }));

const names = (n: number) => Array.from({ length: n }, (_, i) => String(i));
test("a small choice is whole", () => expect(cut(names(4), names(3), 3600, 60)).toMatchObject({ shown: 12, all: 12 }));
test("a large one loses counters before hosts, and never all", () => {
  const c = cut(names(100), names(50), 3600, 60);
  expect(c.endpoints.length).toBe(100);
  expect(c.shown).toBeLessThanOrEqual(maxSeries);
  expect(c.all).toBe(5000);
});
test("three days of ten seconds leave room for few", () => {
  const c = cut(names(100), names(1), 3 * 86400, 10);
  expect(c.shown * (3 * 86400) / 10).toBeLessThanOrEqual(maxPoints);
  expect(c.shown).toBeGreaterThan(0);
});
