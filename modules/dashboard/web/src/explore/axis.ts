// The axes of a chart: where ticks stand, what they say, and what part of the
// values is in sight.
import { isBinary, type Unit } from "./units";

/** The distances between ticks of time that people can read, in seconds. */
export const timeSteps = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400, 172800, 604800];

const two = (n: number) => String(n).padStart(2, "0");

/** Clock of a moment: 09:41, or 09:41:20 with seconds. */
export function clock(ts: number, withSeconds: boolean): string {
  const d = new Date(ts * 1000);
  return two(d.getHours()) + ":" + two(d.getMinutes()) + (withSeconds ? ":" + two(d.getSeconds()) : "");
}

/** Day of a moment: 11-25. */
export function day(ts: number): string {
  const d = new Date(ts * 1000);
  return two(d.getMonth() + 1) + "-" + two(d.getDate());
}

/** The texts of ticks that stand step seconds apart; midnight shows its day. */
export function timeLabels(ticks: readonly number[], step: number): string[] {
  return ticks.map((ts) => {
    const d = new Date(ts * 1000);
    const midnight = d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0;
    if (step >= 86400 || (midnight && step >= 300)) return day(ts);
    return clock(ts, step < 60);
  });
}

/** A span in words, with the day where it is not today's: 11-25 09:41 – 10:02. */
export function spanLabel(from: number, to: number, now: number): string {
  const seconds = to - from < 600;
  const first = day(from) === day(now) && day(to) === day(now) ? "" : day(from) + " ";
  const second = day(from) === day(to) ? "" : day(to) + " ";
  return `${first}${clock(from, seconds)} – ${second}${clock(to, seconds)}`;
}

/**
 * The part of the values that a chart shows. A scale begins at 0 unless the values
 * keep so far from it that nothing could be seen; percents reach 100 when they come
 * near it.
 */
export function yRange(min: number, max: number, unit: Unit): [number, number] {
  if (!Number.isFinite(min) || !Number.isFinite(max)) return unit === "%" ? [0, 100] : [0, 1];
  const span = max - min;
  if (min >= 0 && (span >= max * 0.25 || unit === "%" || max === 0)) {
    if (unit === "%" && max > 60 && max <= 100) return [0, 100];
    return [0, max === 0 ? 1 : max * 1.08];
  }
  if (span === 0) {
    const pad = Math.abs(max) * 0.05 || 1;
    return [min - pad, max + pad];
  }
  const low = min - span * 0.1;
  return [min >= 0 ? Math.max(0, low) : low, max + span * 0.1];
}

/** Distances between ticks of values: powers of two for bytes, 1-2-5 for the rest. */
export function valueSteps(unit: Unit): number[] {
  const steps: number[] = [];
  if (isBinary(unit)) {
    for (let n = -4; n <= 60; n++) steps.push(2 ** n);
    return steps;
  }
  for (let n = -9; n <= 18; n++) for (const m of [1, 2, 2.5, 5]) steps.push(Number((m * 10 ** n).toPrecision(3)));
  return steps;
}
