// Two languages, one set of keys: TypeScript refuses a text that one of them lacks.
import { ApiError } from "./api";
import { lang } from "./prefs";
import { en, type Key } from "./text/en";
import { zh } from "./text/zh";

export type { Key } from "./text/en";

/** The text of key in the language of the moment; {name} is filled from vars. */
export function t(key: Key, vars: Record<string, string | number> = {}): string {
  const text = (lang.value === "zh" ? zh : en)[key];
  return text.replace(/\{(\w+)\}/g, (_, name: string) => String(vars[name] ?? ""));
}

/** An error in words, with what to do where we know it. */
export function say(err: unknown): string {
  if (!(err instanceof ApiError)) return t("error.page", { text: String(err) });
  if (err.status === 0) return t("error.away");
  if (err.message) return err.message;
  return t("error.status", { status: err.status });
}

/** How long ago, short: 4s, 12m, 3h, 2d. */
export function age(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 100) return t("age.s", { n: s });
  if (s < 100 * 60) return t("age.m", { n: Math.round(s / 60) });
  if (s < 48 * 3600) return t("age.h", { n: Math.round(s / 3600) });
  return t("age.d", { n: Math.round(s / 86400) });
}

/** A whole number with thin spaces between thousands, as in 50 000. */
export const count = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
