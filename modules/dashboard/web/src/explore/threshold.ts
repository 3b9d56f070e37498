// A threshold in a chart: a dashed line where a rule's condition begins to hold.

export interface Threshold {
  /** The counter or metric it is about; "" for every line. */
  counter: string;
  op: string;
  value: number;
}

const shape = /^(.*?)(==|!=|<=|>=|<|>)(-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)$/i;

/** Reads what stands in a URL: cpu.idle<10. null for what is none. */
export function parseThreshold(text: string): Threshold | null {
  const m = shape.exec(text);
  return m ? { counter: m[1] as string, op: m[2] as string, value: Number(m[3]) } : null;
}

export const formatThreshold = (t: Threshold): string => t.counter + t.op + String(t.value);

/** What the line is labelled with: < 10. */
export const labelOf = (t: Threshold): string => `${t.op} ${t.value}`;

/** Whether a counter, cpu.idle/core=1, is what the threshold is about. */
export const concerns = (t: Threshold, counter: string): boolean => t.counter === "" || t.counter === counter || t.counter === (counter.split("/")[0] ?? "");

export interface Condition {
  left: number;
  op: string;
  right: number;
}

/** The condition of an alarm's row, "8.9 < 10", in its parts; null when it is written otherwise. */
export function parseCondition(cond: string): Condition | null {
  const m = /^(\S+)\s*(==|!=|<=|>=|<|>)\s*(\S+)$/.exec(cond.trim());
  if (!m) return null;
  const left = Number(m[1]);
  const right = Number(m[3]);
  return Number.isFinite(left) && Number.isFinite(right) ? { left, op: m[2] as string, right } : null;
}

/** The condition with numbers that people can read: 8.904761904 < 10 is 8.9 < 10. */
export function readable(cond: string): string {
  const c = parseCondition(cond);
  if (!c) return cond;
  const n = (v: number) => {
    const text = Number.isInteger(v) ? String(v) : String(Number(v.toPrecision(4)));
    return /^-?\d{5,}$/.test(text) ? text.replace(/\B(?=(\d{3})+$)/g, "\u202f") : text;
  };
  return `${n(c.left)} ${c.op} ${n(c.right)}`;
}
