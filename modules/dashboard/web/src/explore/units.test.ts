import { expect, test } from "vitest";
import { format, ticks, unitOf, type Unit } from "./units";

const plain = (s: string) => s.replace(/\u202f/g, " ");

test.each<[string, string, Unit]>([
  ["cpu.idle", "GAUGE", "%"],
  ["cpu.switches", "DERIVE", "/s"],
  ["mem.memused.percent", "GAUGE", "%"],
  ["mem.memused", "GAUGE", "B"],
  ["disk.io.util/device=sda", "GAUGE", "%"],
  ["disk.io.read_bytes/device=sda", "DERIVE", "B/s"],
  ["disk.io.await/device=sda", "GAUGE", "ms"],
  ["df.bytes.free/fstype=ext4,mount=/", "GAUGE", "B"],
  ["df.bytes.free.percent/mount=/", "GAUGE", "%"],
  ["df.inodes.free/mount=/", "GAUGE", ""],
  ["net.if.in.bits/iface=eth0", "DERIVE", "bit/s"],
  ["net.if.in.bytes/iface=eth0", "DERIVE", "B/s"],
  ["net.if.in.packets/iface=eth0", "DERIVE", "/s"],
  ["load.1min", "GAUGE", ""],
  ["sys.uptime", "GAUGE", "s"],
  ["requests", "COUNTER", "/s"],
])("unitOf(%s, %s) = %j", (counter, type, want) => expect(unitOf(counter, type)).toBe(want));

test.each<[number | null, Unit, string]>([
  [null, "%", "–"],
  [NaN, "", "–"],
  [0, "%", "0 %"],
  [97.456, "%", "97.5 %"],
  [9.996, "%", "10.0 %"],
  [1, "", "1"],
  [0.5, "", "0.500"],
  [0.0123, "", "0.012"],
  [1e-7, "", "1.0e-7"],
  [-2.5, "", "-2.50"],
  [9999, "", "9999"],
  [123456, "", "123k"],
  [1234567, "", "1.23M"],
  [999960, "", "1.00M"],
  [512, "B", "512 B"],
  [1024, "B", "1 KiB"],
  [1536, "B", "1.50 KiB"],
  [3.42 * 2 ** 30, "B", "3.42 GiB"],
  [1048575, "B", "1.00 MiB"],
  [-1536, "B/s", "-1.50 KiB/s"],
  [1500, "bit/s", "1.50 kbit/s"],
  [12000, "/s", "12k/s"],
  [2.5, "/s", "2.50/s"],
  [12.34, "ms", "12.3 ms"],
  [90, "s", "90 s"],
  [600, "s", "10 min"],
  [10800, "s", "3 h"],
  [864000, "s", "10 d"],
])("format(%d, %j) = %j", (v, unit, want) => expect(plain(format(v, unit))).toBe(want));

test.each<[number[], Unit, string[]]>([
  [[0, 25, 50], "%", ["0 %", "25 %", "50 %"]],
  [[0, 0.5, 1], "", ["0", "0.5", "1.0"]],
  [[99.98, 99.985, 99.99], "%", ["99.980 %", "99.985 %", "99.990 %"]],
  [[100, 102.5, 105], "", ["100.0", "102.5", "105.0"]],
  [[0, 512 * 1024, 1024 * 1024], "B", ["0 B", "0.5 MiB", "1.0 MiB"]],
  [[0, 5000, 10000], "/s", ["0/s", "5k/s", "10k/s"]],
  [[-2, 0, 2], "", ["-2", "0", "2"]],
  [[], "B", []],
  [[5], "ms", ["5 ms"]],
])("ticks(%j, %j) = %j", (values, unit, want) => expect(ticks(values, unit).map(plain)).toEqual(want));
