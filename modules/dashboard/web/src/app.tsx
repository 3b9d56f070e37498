// Which page an address means, and the keys that work on all of them.
import { useEffect } from "preact/hooks";
import { inbox } from "./alarms/inbox";
import { refreshAll } from "./explore/toolbar";
import { Explore } from "./explore/explore";
import { Frame, Link } from "./frame";
import { Help, helpOpen } from "./help";
import { t, type Key } from "./i18n";
import { reloadAll } from "./load";
import { Login } from "./login";
import { param } from "./query";
import { go, place } from "./router";
import { searchID } from "./searchbox";
import { resume, sessionError, user } from "./session";
import { changed } from "./text";
import { Failure } from "./ui/error";
import { lazy } from "./ui/lazy";
import { Toast } from "./ui/toast";

const pages: readonly { path: RegExp; title: Key; Page: () => preact.JSX.Element | null }[] = [
  { path: /^\/explore$/, title: "explore", Page: () => <Explore /> },
  ...(
    [
      [/^\/home$/, "home", lazy(() => import("./home/page").then((m) => m.Home))],
      [/^\/alarms$/, "alarms", lazy(() => import("./alarms/page").then((m) => m.Alarms))],
      [/^\/templates$/, "templates", lazy(() => import("./rules/templates").then((m) => m.Templates))],
      [/^\/templates\/\d+$/, "templates", lazy(() => import("./rules/template").then((m) => m.TemplatePage))],
      [/^\/expressions$/, "expressions", lazy(() => import("./rules/expressions").then((m) => m.Expressions))],
      [/^\/hostgroups$/, "hostgroups", lazy(() => import("./rules/hostgroups").then((m) => m.HostGroups))],
      [/^\/hostgroups\/\d+$/, "hostgroups", lazy(() => import("./rules/hostgroup").then((m) => m.HostGroupPage))],
      [/^\/hosts$/, "hosts", lazy(() => import("./rules/hosts").then((m) => m.Hosts))],
      [/^\/hosts\/\d+$/, "hosts", lazy(() => import("./rules/host").then((m) => m.HostPage))],
      [/^\/teams$/, "teams", lazy(() => import("./rules/teams").then((m) => m.Teams))],
      [/^\/channels$/, "channels", lazy(() => import("./rules/channels").then((m) => m.Channels))],
    ] as const
  ).map(([path, title, Page]) => ({ path, title, Page: () => <Page key={place.value.path} /> })),
];

// Addresses of the former dashboard that people have in mails and bookmarks: where they lead now, or that their page is not there yet.
const moved: readonly [RegExp, string][] = [
  [/^\/portal\/template\/(?:view|update|binds)\/(\d+)$/, "/templates/$1"],
  [/^\/portal\/templates?$/, "/templates"],
  [/^\/portal\/expressions?(?:\/add)?$/, "/expressions"],
  [/^\/portal\/expression\/(?:view|update)\/(\d+)$/, "/expressions?edit=$1"],
  [/^\/portal\/hostgroups?$/, "/hostgroups"],
  [/^\/portal\/group\/(\d+)\/hosts$/, "/hostgroups/$1"],
  [/^\/portal\/alarm-dash\/case$/, "/alarms"],
  [/^\/portal\/alarm-dash\/case\/event$/, "/alarms"],
];
const later = [/^\/portal(\/|$)/, /^\/screen(s?)(\/|$)/, /^\/charts?(\/|$)/];

export function App() {
  useEffect(() => {
    void resume();
    document.addEventListener("keydown", shortcut);
    return () => document.removeEventListener("keydown", shortcut);
  }, []);
  if (sessionError.value !== null) {
    return (
      <main class="login">
        <Failure error={sessionError.value} onRetry={() => void resume()} />
      </main>
    );
  }
  if (user.value === undefined) return <div class="bar on" role="progressbar" aria-label={t("loading")} />;
  if (user.value === null) return <Login />;
  return (
    <>
      <Frame><Page /></Frame>
      <Help />
      <Toast />
    </>
  );
}

function Page() {
  const path = place.value.path;
  const goal = path === "/" || path === "/login" ? "/explore" : movedTo(path);
  const page = pages.find((p) => p.path.test(path));
  const unread = inbox.value?.unread ?? 0;
  useEffect(() => {
    if (goal) go(goal, true);
    // A tab in the background says that somebody has been told something.
    document.title = (unread > 0 ? `(${unread}) ` : "") + (page ? t(page.title) + " · " : "") + "Falcon";
  });
  if (goal) return null;
  if (page) return <page.Page key={page.path.source} />;
  if (later.some((r) => r.test(path))) return <Message title="later.title" text="later.text" />;
  return <Message title="nowhere.title" text="nowhere.text" />;
}

function movedTo(path: string): string {
  const found = moved.find(([from]) => from.test(path));
  if (!found) return "";
  const to = path.replace(found[0], found[1]);
  // Of their queries the search and the case mean something here.
  return to.includes("?") ? to : to + changed("", { q: param("q"), id: param("case_id") });
}

function Message({ title, text }: { title: Key; text: Key }) {
  return (
    <div class="empty">
      <h1>{t(title)}</h1>
      <p>{t(text, { path: place.value.path })}</p>
      <Link href="/explore" class="button">{t("to.explore")}</Link>
    </div>
  );
}

// After g the next key says where to.
const places: Readonly<Record<string, string>> = { o: "/home", e: "/explore", a: "/alarms", h: "/hosts", g: "/hostgroups", t: "/templates", x: "/expressions", u: "/teams", c: "/channels" };
let going = 0;

function shortcut(e: KeyboardEvent): void {
  const el = e.target as HTMLElement;
  if (e.ctrlKey || e.metaKey || e.altKey || user.peek() == null) return;
  if (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName) || document.querySelector("dialog[open]")) return;
  const to = Date.now() - going < 1500 ? places[e.key] : undefined;
  going = 0;
  if (to) {
    go(to);
    e.preventDefault();
    return;
  }
  switch (e.key) {
    case "/": {
      const box = document.getElementById(searchID) as HTMLInputElement | null;
      box?.focus();
      box?.select();
      break;
    }
    case "r":
      if (place.peek().path === "/explore") refreshAll();
      else if (!reloadAll()) return;
      break;
    case "g":
      going = Date.now();
      break;
    case "?":
      helpOpen.value = true;
      break;
    default:
      return;
  }
  e.preventDefault();
}
