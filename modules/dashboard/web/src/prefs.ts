// What a person has chosen for this browser: language and theme. Neither is part of
// a view, so neither is in the URL.
import { effect, signal } from "@preact/signals";

export type Lang = "en" | "zh";
export type Theme = "light" | "dark";

export function stored(key: string): string | null {
  try {
    return localStorage.getItem("falcon." + key);
  } catch {
    return null; // storage is forbidden: the defaults serve
  }
}

export function store(key: string, value: string): void {
  try {
    localStorage.setItem("falcon." + key, value);
  } catch {
    // it holds until the tab is closed
  }
}

function firstLang(): Lang {
  const kept = stored("lang");
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function firstTheme(): Theme {
  const kept = stored("theme");
  if (kept === "light" || kept === "dark") return kept;
  return prefersDark.matches ? "dark" : "light";
}

export const lang = signal<Lang>(firstLang());
export const theme = signal<Theme>(firstTheme());

export function chooseLang(l: Lang): void {
  lang.value = l;
  store("lang", l);
}

export function chooseTheme(t: Theme): void {
  theme.value = t;
  store("theme", t);
}

/** Writes both onto the document, now and whenever they change. */
export function applyPrefs(): void {
  effect(() => {
    document.documentElement.lang = lang.value === "zh" ? "zh-CN" : "en";
  });
  effect(() => {
    document.documentElement.dataset["theme"] = theme.value;
  });
  // Until somebody chooses, the system's wish counts.
  prefersDark.addEventListener("change", (e) => {
    if (stored("theme") === null) theme.value = e.matches ? "dark" : "light";
  });
}
