import { expect, test } from "vitest";
import { clock, day, spanLabel, timeLabels, valueSteps, yRange } from "./axis";

// Local time of a moment, whatever the zone of the machine.
const at = (h: number, m: number, s = 0, d = 25) => new Date(2026, 10, d, h, m, s).getTime() / 1000;

test("clock and day are local", () => {
  expect(clock(at(9, 41, 7), false)).toBe("09:41");
  expect(clock(at(9, 41, 7), true)).toBe("09:41:07");
  expect(day(at(9, 41))).toBe("11-25");
});

test.each([
  ["seconds show while steps are shorter than a minute", [at(9, 41, 0), at(9, 41, 30)], 30, ["09:41:00", "09:41:30"]],
  ["minutes", [at(9, 41), at(9, 42)], 60, ["09:41", "09:42"]],
  ["midnight is a day", [at(23, 0, 0, 24), at(0, 0), at(1, 0)], 3600, ["23:00", "11-25", "01:00"]],
  ["whole days", [at(0, 0), at(0, 0, 0, 26)], 86400, ["11-25", "11-26"]],
])("%s", (_, ticks, step, want) => expect(timeLabels(ticks as number[], step as number)).toEqual(want));

test("a span says its day only when it is not today", () => {
  expect(spanLabel(at(9, 0), at(10, 0), at(12, 0))).toBe("09:00 – 10:00");
  expect(spanLabel(at(9, 0), at(9, 5), at(12, 0))).toBe("09:00:00 – 09:05:00");
  expect(spanLabel(at(9, 0), at(10, 0), at(12, 0, 0, 26))).toBe("11-25 09:00 – 10:00");
  expect(spanLabel(at(23, 0), at(1, 0, 0, 26), at(12, 0, 0, 26))).toBe("11-25 23:00 – 11-26 01:00");
});

test("percents reach 100 when they come near it", () => {
  expect(yRange(40, 90, "%")).toEqual([0, 100]);
  expect(yRange(0, 5, "%")[1]).toBeCloseTo(5.4);
  expect(yRange(0, 130, "%")[1]).toBeGreaterThan(130);
});
test("values that move a lot start at zero, those far from it do not", () => {
  expect(yRange(10, 100, "")[0]).toBe(0);
  const [lo, hi] = yRange(1000, 1010, "");
  expect(lo).toBeGreaterThan(900);
  expect(hi).toBeGreaterThan(1010);
});
test("a line that never moves has room on both sides", () => {
  const [lo, hi] = yRange(7, 7, "");
  expect(lo).toBeLessThan(7);
  expect(hi).toBeGreaterThan(7);
  expect(yRange(0, 0, "")).toEqual([0, 1]);
});
test("below zero is in sight", () => expect(yRange(-5, 5, "")[0]).toBeLessThan(-5));
test("without values there is still a scale", () => expect(yRange(Infinity, -Infinity, "%")).toEqual([0, 100]));

test("ticks of bytes are powers of two", () => {
  expect(valueSteps("B").every((s) => Number.isInteger(Math.log2(s)))).toBe(true);
  expect(valueSteps("")).toContain(2.5);
});
