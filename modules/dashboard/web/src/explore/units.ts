// What a number means: guessed from the name of its metric, since the wire says
// nothing about units.

export type Unit = "%" | "B" | "B/s" | "bit/s" | "ms" | "s" | "/s" | "";

const derived = (type: string) => type === "DERIVE" || type === "COUNTER";

/** The unit of a counter, by its metric and its type. */
export function unitOf(counter: string, type: string): Unit {
  const metric = (counter.split("/")[0] ?? "").toLowerCase();
  const words = metric.split(/[._-]/);
  const has = (...w: string[]) => w.some((x) => words.includes(x));
  if (has("percent", "pct", "util") || /^cpu\.(?!switches|num|count)/.test(metric)) return "%";
  if (has("bits", "bps")) return "bit/s";
  if (has("bytes") || /^mem\.|^df\.bytes/.test(metric)) return derived(type) || /^net\.if\.|^disk\.io\./.test(metric) ? "B/s" : "B";
  if (has("await", "svctm", "msec", "ms") || /(latency|rtt|duration)_?ms$/.test(metric)) return derived(type) ? "" : "ms";
  if (has("uptime", "seconds")) return derived(type) ? "" : "s";
  if (derived(type)) return "/s";
  return "";
}

const binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const decimal = ["", "k", "M", "G", "T", "P", "E"];

/** Whether steps of 1024 are what people expect: bytes yes, bits and counts no. */
export const isBinary = (u: Unit): boolean => u === "B" || u === "B/s";

/** A number with three digits that count; whole ones as they are. */
function digits(v: number): string {
  const a = Math.abs(v);
  if (Number.isInteger(v) || a >= 99.95) return String(Math.round(v));
  if (a < 1e-4) return v.toExponential(1);
  const text = v.toFixed(a >= 9.995 ? 1 : a >= 0.9995 ? 2 : 3);
  return a < 0.1 ? Number(v.toPrecision(2)).toString() : text;
}

/** A value with its unit: "3.42 GiB", "97.5 %", "12k/s". null is a dash. */
export function format(v: number | null | undefined, unit: Unit): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return "–";
  if (unit === "%") return digits(v) + "\u202f%";
  if (unit === "s") return seconds(v);
  if (unit === "ms") return digits(v) + "\u202fms";
  const { factor, name } = scale(v, unit);
  return digits(v / factor) + gap(unit) + name;
}

/** Counts stand close to their letter: 12k/s; measures do not: 12 KiB/s. */
const gap = (unit: Unit): string => (unit === "" || unit === "/s" ? "" : "\u202f");

/** What v is divided by to be read easily, and the name of the unit then. */
function scale(v: number, unit: Unit): { factor: number; name: string } {
  const base = isBinary(unit) ? 1024 : 1000;
  const names = isBinary(unit) ? binary : decimal;
  let n = 0;
  let factor = 1;
  // Four digits of a count are still read at a glance.
  if (Math.abs(v) >= (gap(unit) === "" ? 10 * base : base * 0.9995)) {
    // 999.96 would be written 1000: it belongs to the next step.
    while (Math.abs(v) / factor >= base * 0.9995 && n < names.length - 1) {
      factor *= base;
      n++;
    }
  }
  return { factor, name: (names[n] ?? "") + unit };
}

/** The texts of evenly spaced ticks: one scale for all, and as many digits as tell them apart. */
export function ticks(values: readonly number[], unit: Unit): string[] {
  if (unit === "s" || values.length === 0) return values.map((v) => format(v, unit));
  const { factor, name } = scale(Math.max(...values.map(Math.abs)), unit);
  const step = values.length > 1 ? Math.abs((values[1] as number) - (values[0] as number)) / factor : 1;
  let places = 0;
  while (places < 9 && Math.abs(step * 10 ** places - Math.round(step * 10 ** places)) > 1e-6 * step * 10 ** places) places++;
  places = Math.min(places, Math.max(0, 2 - Math.floor(Math.log10(step))));
  return values.map((v) => (v === 0 ? "0" + gap(unit) + unit : (v / factor).toFixed(places) + gap(unit) + name));
}

function seconds(v: number): string {
  const a = Math.abs(v);
  if (a >= 2 * 86400) return digits(Math.round((v / 86400) * 10) / 10) + "\u202fd";
  if (a >= 2 * 3600) return digits(Math.round((v / 3600) * 10) / 10) + "\u202fh";
  if (a >= 120) return digits(Math.round((v / 60) * 10) / 10) + "\u202fmin";
  return digits(v) + "\u202fs";
}
