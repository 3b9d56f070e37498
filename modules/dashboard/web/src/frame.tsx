// What surrounds every page: the rail, the search, language, theme and account.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { say, t, type Key } from "./i18n";
import { chooseLang, chooseTheme, lang, theme } from "./prefs";
import { go, place } from "./router";
import { Search } from "./searchbox";
import { logOut, user } from "./session";
import { AlarmIcon, ChannelIcon, ExploreIcon, ExpressionIcon, GroupIcon, HomeIcon, HostIcon, Mark, MenuIcon, MoonIcon, SunIcon, TeamIcon, TemplateIcon, UserIcon } from "./ui/icons";
import { helpOpen } from "./help";
import { Bell } from "./alarms/bell";

export function Link({ href, children, ...rest }: { href: string; children: ComponentChildren; class?: string; title?: string; "aria-label"?: string; "aria-current"?: "page" | undefined }) {
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
          <button type="button" class="narrow-only" onClick={() => chooseLang(lang.value === "zh" ? "en" : "zh")}>{t("lang.other")}</button>
          <button type="button" class="narrow-only" onClick={() => chooseTheme(theme.value === "dark" ? "light" : "dark")}>{t(theme.value === "dark" ? "theme.light" : "theme.dark")}</button>
          <button
            type="button"
            onClick={() => {
              open.value = false;
              go(`/teams?s=users&do=${user.value?.id ?? ""}`);
            }}
          >
            {t("profile")}
          </button>
          <button type="button" onClick={() => void leave()}>{t("logout")}</button>
          {error.value ? <div class="failure" role="alert">{error.value}</div> : null}
        </div>
      ) : null}
    </div>
  );
}

const menu: readonly (readonly [string, Key, () => preact.JSX.Element])[] = [
  ["/home", "home", HomeIcon], ["/explore", "explore", ExploreIcon], ["/alarms", "alarms", AlarmIcon], ["/hosts", "hosts", HostIcon], ["/hostgroups", "hostgroups", GroupIcon],
  ["/templates", "templates", TemplateIcon], ["/expressions", "expressions", ExpressionIcon], ["/teams", "teams", TeamIcon], ["/channels", "channels", ChannelIcon],
];

const isAt = (path: string, href: string): boolean => path === href || path.startsWith(href + "/");

/** The menu of a phone, which has no rail. */
function NarrowMenu() {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const outside = (e: Event) => {
      if (!root.current?.contains(e.target as Node)) open.value = false;
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, []);
  const at = place.value.path;
  useEffect(() => {
    open.value = false;
  }, [at]);
  return (
    <div class="narrow-menu" ref={root} onKeyDown={(e: KeyboardEvent) => e.key === "Escape" && (open.value = false)}>
      <button type="button" class="quiet" aria-haspopup="true" aria-expanded={open.value} aria-label={t("menu")} onClick={() => (open.value = !open.value)}><MenuIcon /></button>
      {open.value ? (
        <nav class="menu left" aria-label={t("menu")}>
          {menu.map(([href, name, Icon]) => (
            <Link key={href} href={href} class="item" aria-current={isAt(at, href) ? "page" : undefined}><Icon /> {t(name)}</Link>
          ))}
        </nav>
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
        {menu.map(([href, name, Icon]) => (
          <Link key={href} href={href} class="item" title={t(name)} aria-current={isAt(at, href) ? "page" : undefined}>
            <Icon /> <span>{t(name)}</span>
          </Link>
        ))}
        <button type="button" class="item keys" onClick={() => (helpOpen.value = true)} aria-label={t("keys")}>
          <kbd>?</kbd> <span>{t("keys")}</span>
        </button>
      </nav>
      <header class="top">
        <NarrowMenu />
        <Search />
        <div class="tools">
          <Bell />
          <LangButton />
          <ThemeButton />
          <Account />
        </div>
      </header>
      <main id="main">{children}</main>
    </div>
  );
}
