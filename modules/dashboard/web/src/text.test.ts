import { expect, test } from "vitest";
import { changed, copyName, matcher, moment, names, when } from "./text";

test.each<[unknown, number]>([
  [1700000000, 1700000000], [0, 0], [-62135596800, 0], [null, 0], [undefined, 0], ["", 0], ["nonsense", 0],
  ["0001-01-01T00:00:00Z", 0], ["2023-11-14T22:13:20Z", 1700000000], ["2023-11-15T06:13:20+08:00", 1700000000],
])("%s is read as a time", (v, want) => expect(when(v)).toBe(want));

test.each<[string, string[], boolean]>([
  ["", ["web-1"], true],
  ["web cpu", ["web-1", "cpu.idle"], true],
  ["web cpu", ["web-1", "mem"], false],
  ["web -cpu", ["web-1", "cpu.idle"], false],
  ["!cpu", ["web-1"], true],
  ["a | web", ["web-1"], true],
  ["WEB", ["web-1"], true],
  ["^cpu", ["web-cpu"], false],
  ["^cpu", ["web-1", "cpu.idle"], true],
  ["all(#3", ["all(#3) < 5"], true],
  ["- web", ["web-1"], true],
])("%s finds %j: %s", (typed, texts, want) => expect(matcher(typed)(texts)).toBe(want));



test("a moment of today has no date", () => {
  const at = (y: number, m: number, d: number, h: number) => new Date(y, m - 1, d, h, 2, 3).getTime() / 1000;
  expect(moment(at(2026, 11, 25, 9), at(2026, 11, 25, 12))).toBe("09:02:03");
  expect(moment(at(2026, 11, 24, 9), at(2026, 11, 25, 12))).toBe("11-24 09:02:03");
  expect(moment(at(2025, 11, 24, 9), at(2026, 11, 25, 12))).toBe("2025-11-24 09:02:03");
  expect(moment(0, 1)).toBe("–");
});

test("pasted names lose what stands between them", () => expect(names(" a, b;c\n\na\td ")).toEqual(["a", "b", "c", "d"]));

test("a copy has a name of its own", () => {
  expect(copyName("x", ["x"])).toBe("copy_of_x");
  expect(copyName("x", ["x", "copy_of_x", "copy_of_x_2"])).toBe("copy_of_x_3");
});
test.each<[string, Record<string, string>, string]>([
  ["", {}, ""],
  ["", { q: "web bj" }, "?q=web+bj"],
  ["?q=a&id=s_1_x", { q: "" }, "?id=s_1_x"],
  ["?q=a", { q: "", id: "" }, ""],
  ["?q=a", { id: "df/mount=/" }, "?q=a&id=df/mount=/"],
  ["?q=a%26b", { p: "0" }, "?q=a%26b&p=0"],
])("%s with %j is %s", (search, change, want) => expect(changed(search, change)).toBe(want));
