import { expect, test } from "vitest";
import { align, columns, extend, lowerBound, stats, type Series } from "./series";

const s = (t: number[], v: (number | null)[], step = 60): Series => ({ endpoint: "e", counter: "c", type: "GAUGE", step, t, v });

test("an answer becomes columns, nulls and all", () =>
  expect(columns({ endpoint: "e", counter: "c", dstype: "GAUGE", step: 60, Values: [{ timestamp: 60, value: 1 }, { timestamp: 120, value: null }] })).toEqual(s([60, 120], [1, null])));
test("Values may be null", () => expect(columns({ endpoint: "e", counter: "c", dstype: "", step: 0, Values: null }).t).toEqual([]));

test.each([
  ["appends what is new", s([60, 120], [1, 2]), s([180], [3]), 0, s([60, 120, 180], [1, 2, 3])],
  ["replaces what has changed", s([60, 120], [1, null]), s([120, 180], [2, 3]), 0, s([60, 120, 180], [1, 2, 3])],
  ["forgets what has left the range", s([60, 120], [1, 2]), s([180], [3]), 100, s([120, 180], [2, 3])],
  ["keeps the old when nothing came", s([60, 120], [1, 2]), s([], []), 0, s([60, 120], [1, 2])],
  ["lets all go when the range has moved on", s([60, 120], [1, 2]), s([600], [9]), 500, s([600], [9])],
])("extend %s", (_, old, tail, from, want) => expect(extend(old as Series, tail as Series, from as number)).toEqual(want));

test("series of one grid share it", () => expect(align([s([60, 120], [1, null]), s([60, 120], [3, 4])])).toEqual([[60, 120], [1, null], [3, 4]]));
test("a slower series has no gaps between its points, but keeps its own", () =>
  expect(align([s([60, 120, 180], [1, null, 3]), s([60, 90, 120, 150, 180], [1, 2, 3, 4, 5], 30)])).toEqual([
    [60, 90, 120, 150, 180],
    [1, undefined, null, undefined, 3],
    [1, 2, 3, 4, 5],
  ]));
test("nothing is a table without rows", () => expect(align([])).toEqual([[]]));

test("figures leave gaps out; now is the newest value", () =>
  expect(stats(s([60, 120, 180, 240], [4, null, 2, null]))).toEqual({ now: 2, min: 2, max: 4, avg: 3, last: 180 }));
test("a series without points has no figures", () => expect(stats(s([60], [null]))).toEqual({ now: null, min: null, max: null, avg: null, last: 0 }));

test.each([
  [[], 5, 0],
  [[1, 3, 5], 0, 0],
  [[1, 3, 5], 3, 1],
  [[1, 3, 5], 4, 2],
  [[1, 3, 5], 9, 3],
])("lowerBound(%j, %d) = %d", (a, x, want) => expect(lowerBound(a, x)).toBe(want));
