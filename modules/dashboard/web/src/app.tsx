// Which page an address means, and the keys that work on all of them.
import { useEffect } from "preact/hooks";
import { refreshAll } from "./explore/toolbar";
import { Explore } from "./explore/explore";
import { Frame, Link } from "./frame";
import { Help, helpOpen } from "./help";
import { t, type Key } from "./i18n";
import { Login } from "./login";
import { go, place } from "./router";
import { searchID } from "./searchbox";
import { resume, sessionError, user } from "./session";
import { Failure } from "./ui/error";

// Addresses of the former dashboard that people have in mails and bookmarks.
const later = [/^\/portal\/links(\/|$)/, /^\/screen(s?)(\/|$)/, /^\/charts?(\/|$)/];

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
    </>
  );
}

function Page() {
  const path = place.value.path;
  const home = path === "/" || path === "/login";
  useEffect(() => {
    if (home) go("/explore", true);
    document.title = (path === "/explore" ? t("explore") + " · " : "") + "Falcon";
  });
  if (home) return null;
  if (path === "/explore") return <Explore />;
  if (later.some((r) => r.test(path))) return <Message title="later.title" text="later.text" />;
  return <Message title="nowhere.title" text="nowhere.text" />;
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

function shortcut(e: KeyboardEvent): void {
  const el = e.target as HTMLElement;
  if (e.ctrlKey || e.metaKey || e.altKey || user.peek() == null) return;
  if (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName) || helpOpen.peek()) return;
  switch (e.key) {
    case "/": {
      const box = document.getElementById(searchID) as HTMLInputElement | null;
      box?.focus();
      box?.select();
      break;
    }
    case "r":
      if (place.peek().path !== "/explore") return;
      refreshAll();
      break;
    case "?":
      helpOpen.value = true;
      break;
    default:
      return;
  }
  e.preventDefault();
}
