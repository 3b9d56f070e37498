import { expect, test } from "vitest";
import { concerns, formatThreshold, labelOf, parseCondition, parseThreshold, readable } from "./threshold";

test.each<[string, string, string, number]>([
  ["cpu.idle<10", "cpu.idle", "<", 10],
  ["<10", "", "<", 10],
  ["df.bytes.free.percent/fstype=ext4,mount=/<=5.5", "df.bytes.free.percent/fstype=ext4,mount=/", "<=", 5.5],
  ["proc.num/name=a==0", "proc.num/name=a", "==", 0],
  ["x!=-1e+21", "x", "!=", -1e21],
])("%s is a threshold, and comes back", (text, counter, op, value) => {
  expect(parseThreshold(text)).toEqual({ counter, op, value });
  expect(parseThreshold(formatThreshold({ counter, op, value }))).toEqual({ counter, op, value });
});

test.each(["", "cpu.idle", "cpu.idle<", "cpu.idle<x", "cpu.idle<1 0"])("%s is none", (text) => expect(parseThreshold(text)).toBeNull());

test("the label is short", () => expect(labelOf({ counter: "cpu.idle", op: "<", value: 10 })).toBe("< 10"));

test("a threshold is for its metric, its counter, or all", () => {
  const t = (counter: string) => ({ counter, op: "<", value: 1 });
  expect(concerns(t("cpu.idle"), "cpu.idle/core=1")).toBe(true);
  expect(concerns(t("cpu.idle/core=1"), "cpu.idle/core=1")).toBe(true);
  expect(concerns(t(""), "cpu.idle")).toBe(true);
  expect(concerns(t("cpu.idle/core=2"), "cpu.idle/core=1")).toBe(false);
  expect(concerns(t("cpu"), "cpu.idle")).toBe(false);
});

test("the condition of a row", () => {
  expect(parseCondition("8.9 < 10")).toEqual({ left: 8.9, op: "<", right: 10 });
  expect(parseCondition("-1e+06 == 0")).toEqual({ left: -1e6, op: "==", right: 0 });
  expect(parseCondition("silent")).toBeNull();
  expect(readable("8.904761904761905 < 10")).toBe("8.905 < 10");
  expect(readable("1234567 > 5000")).toBe("1\u202f234\u202f567 > 5000");
  expect(readable("silent for 5 min")).toBe("silent for 5 min");
});
