import { expect, test } from "vitest";
import { all, click, nothing, range, toggle, type Choice } from "./selection";

const list = ["a", "b", "c", "d", "e"];
const at = (names: string[], anchor: string | null): Choice => ({ names, anchor });

test("a click takes only that one", () => expect(click(list, at(["a", "b"], "a"), "d", {})).toEqual(at(["d"], "d")));
test("Ctrl adds", () => expect(click(list, at(["a"], "a"), "d", { ctrl: true })).toEqual(at(["a", "d"], "d")));
test("Ctrl removes", () => expect(click(list, at(["a", "d"], "a"), "d", { ctrl: true })).toEqual(at(["a"], "d")));
test("Shift takes a range downwards", () => expect(click(list, at(["b"], "b"), "d", { shift: true })).toEqual(at(["b", "c", "d"], "b")));
test("Shift takes a range upwards", () => expect(click(list, at(["d"], "d"), "b", { shift: true })).toEqual(at(["b", "c", "d"], "d")));
test("a second Shift turns about the same anchor", () => {
  const first = click(list, at(["c"], "c"), "e", { shift: true });
  expect(click(list, first, "a", { shift: true })).toEqual(at(["a", "b", "c"], "c"));
});
test("Shift drops what was chosen, with Ctrl it stays", () => {
  expect(range(list, at(["e", "a"], "a"), "b", false).names).toEqual(["a", "b"]);
  expect(range(list, at(["e", "a"], "a"), "b", true).names).toEqual(["e", "a", "b"]);
});
test("without an anchor in the list Shift is a click", () => {
  expect(click(list, nothing, "c", { shift: true })).toEqual(at(["c"], "c"));
  expect(click(list, at(["x"], "x"), "c", { shift: true })).toEqual(at(["c"], "c"));
});
test("a name outside the list changes nothing by Shift", () => expect(range(list, at(["a"], "a"), "x", false)).toEqual(at(["a"], "a")));
test("all adds what matches to what is chosen", () => expect(all(["b", "c"], at(["x", "b"], "x")).names).toEqual(["x", "b", "c"]));
test("toggle twice is nothing", () => expect(toggle(toggle(nothing, "a"), "a").names).toEqual([]));
