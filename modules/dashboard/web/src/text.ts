// Small things that all pages of rules and alarms do with words and times.
import { encode } from "./explore/view";

/** search, the query of an address, with the values of change in it; an empty value is not there. */
export function changed(search: string, change: Readonly<Record<string, string>>): string {
  const p = new URLSearchParams(search);
  for (const [key, value] of Object.entries(change)) {
    if (value === "") p.delete(key);
    else p.set(key, value);
  }
  const parts = [...p].map(([k, v]) => encode(k) + "=" + encode(v));
  return parts.length === 0 ? "" : "?" + parts.join("&");
}

/** Unix seconds of a time as the api writes it: a number, or a text with a zone. 0 is never. */
export function when(v: unknown): number {
  if (typeof v === "number") return Number.isFinite(v) && v > 0 ? v : 0;
  if (typeof v !== "string" || v === "" || v.startsWith("0001-")) return 0;
  const ms = Date.parse(v);
  return Number.isNaN(ms) || ms <= 0 ? 0 : Math.floor(ms / 1000);
}

/**
 * A test of texts after what a person types: blanks mean AND, -x and !x exclude,
 * a|b is either; ^ and $ mean a text's beginning and end. A word that is no regular expression is taken letter by letter.
 */
export function matcher(typed: string): (texts: readonly (string | null | undefined)[]) => boolean {
  const words = typed.trim().replace(/\s*\|\s*/g, "|").split(/\s+/).filter((w) => w !== "" && w !== "-" && w !== "!" && w !== "|");
  const tests = words.map((w) => {
    const not = /^[-!]./.test(w);
    const body = not ? w.slice(1) : w;
    let re: RegExp;
    try {
      re = new RegExp(body, "im");
    } catch {
      re = new RegExp(body.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "im");
    }
    return { not, re };
  });
  return (texts) => {
    const all = texts.filter((x) => x).join("\n");
    return tests.every(({ not, re }) => re.test(all) !== not);
  };
}

const two = (n: number) => String(n).padStart(2, "0");

/** A moment for people: 10:02:11 today, 11-25 10:02:11 on another day. */
export function moment(ts: number, now: number): string {
  if (ts === 0) return "–";
  const d = new Date(ts * 1000);
  const n = new Date(now * 1000);
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  if (d.toDateString() === n.toDateString()) return time;
  const year = d.getFullYear() === n.getFullYear() ? "" : d.getFullYear() + "-";
  return `${year}${two(d.getMonth() + 1)}-${two(d.getDate())} ${time}`;
}

/** Names separated by commas, blanks or lines, each once. */
export const names = (text: string): string[] => [...new Set(text.split(/[\s,;]+/).filter((s) => s !== ""))];

/** A name that none of taken has: copy_of_x, copy_of_x_2, … */
export function copyName(name: string, taken: readonly string[]): string {
  const first = "copy_of_" + name;
  for (let n = 1; ; n++) {
    const next = n === 1 ? first : `${first}_${n}`;
    if (!taken.includes(next)) return next;
  }
}
