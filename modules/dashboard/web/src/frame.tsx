// What surrounds every page: the rail, the search, language, theme and account.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { say, t } from "./i18n";
import { chooseLang, chooseTheme, lang, theme } from "./prefs";
import { go, place } from "./router";
import { Search } from "./searchbox";
import { logOut, user } from "./session";
import { ExploreIcon, Mark, MoonIcon, SunIcon, UserIcon } from "./ui/icons";
import { helpOpen } from "./help";

export function Link({ href, children, ...rest }: { href: string; children: ComponentChildren; class?: string; "aria-current"?: "page" | undefined }) {
  return (
    <a
      href={href} {...rest}
      onClick={(e: MouseEvent) => {
        if (e.ctrlKey || e.metaKey || e.shiftKey || e.altKey || e.button !== 0) return; // a new tab is the browser's
        e.preventDefault();
        go(href);
      }}
    >
      {children}
    </a>
  );
}

export function LangButton() {
  const other = lang.value === "zh" ? "en" : "zh";
  return (
    <button type="button" class="quiet" lang={other === "zh" ? "zh-CN" : "en"} onClick={() => chooseLang(other)}>
      {t("lang.other")}
    </button>
  );
}

export function ThemeButton() {
  const other = theme.value === "dark" ? "light" : "dark";
  const name = t(other === "dark" ? "theme.dark" : "theme.light");
  return (
    <button type="button" class="quiet" aria-label={name} onClick={() => chooseTheme(other)}>
      <span class="narrow">{other === "dark" ? <MoonIcon /> : <SunIcon />}</span>
      <span class="broad">{name}</span>
    </button>
  );
}

function Account() {
  const open = useSignal(false);
  const error = useSignal("");
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const outside = (e: Event) => {
      if (!root.current?.contains(e.target as Node)) open.value = false;
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, []);
  const name = user.value?.name ?? "";
  const leave = async () => {
    try {
      await logOut();
    } catch (err) {
      error.value = say(err);
    }
  };
  return (
    <div class="account" ref={root} onKeyDown={(e: KeyboardEvent) => e.key === "Escape" && (open.value = false)}>
      <button type="button" class="quiet" aria-haspopup="true" aria-expanded={open.value} aria-label={t("account", { name })} onClick={() => (open.value = !open.value)}>
        <span class="narrow"><UserIcon /></span>
        <span class="broad">{name}</span>
      </button>
      {open.value ? (
        <div class="menu">
          <div class="who">{name}</div>
          <button type="button" onClick={() => void leave()}>{t("logout")}</button>
          {error.value ? <div class="failure" role="alert">{error.value}</div> : null}
        </div>
      ) : null}
    </div>
  );
}

export function Frame({ children }: { children: ComponentChildren }) {
  const at = place.value.path;
  return (
    <div class="frame">
      <nav class="rail" aria-label={t("menu")}>
        <Link href="/explore" class="brand"><Mark /> <span>Falcon</span></Link>
        <Link href="/explore" class="item" aria-current={at === "/explore" ? "page" : undefined}>
          <ExploreIcon /> <span>{t("explore")}</span>
        </Link>
        <button type="button" class="item keys" onClick={() => (helpOpen.value = true)} aria-label={t("keys")}>
          <kbd>?</kbd> <span>{t("keys")}</span>
        </button>
      </nav>
      <header class="top">
        <Link href="/explore" class="brand narrow-brand"><Mark /><span class="hidden">Falcon</span></Link>
        <Search />
        <div class="tools">
          <LangButton />
          <ThemeButton />
          <Account />
        </div>
      </header>
      <main id="main">{children}</main>
    </div>
  );
}
