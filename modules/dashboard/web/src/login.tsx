// The way in. The address bar keeps the page that was asked for: it is shown as
// soon as the session is there.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ApiError } from "./api";
import { say, t } from "./i18n";
import { logIn } from "./session";
import { Mark } from "./ui/icons";
import { LangButton, ThemeButton } from "./frame";

export function Login() {
  const name = useRef<HTMLInputElement>(null);
  const password = useRef<HTMLInputElement>(null);
  const failure = useSignal<unknown>(null);
  const busy = useSignal(false);
  const caps = useSignal(false);
  const wait = useSignal(0); // seconds until another try is let in

  useEffect(() => name.current?.focus(), []);
  useEffect(() => {
    if (wait.value <= 0) return;
    const timer = setTimeout(() => (wait.value -= 1), 1000);
    return () => clearTimeout(timer);
  }, [wait.value]);

  const submit = async (e: Event) => {
    e.preventDefault();
    const n = name.current as HTMLInputElement;
    const p = password.current as HTMLInputElement;
    if (busy.value || wait.value > 0) return;
    if (n.value === "" || p.value === "") {
      failure.value = new ApiError(400, "name or password is blank");
      (n.value === "" ? n : p).focus();
      return;
    }
    busy.value = true;
    try {
      await logIn(n.value, p.value);
    } catch (err) {
      failure.value = err;
      if (err instanceof ApiError && err.status === 429) wait.value = Math.max(1, err.retryAfter);
      p.focus();
      p.select();
    } finally {
      busy.value = false;
    }
  };
  const watchCaps = (e: KeyboardEvent) => (caps.value = e.getModifierState("CapsLock"));

  return (
    <main class="login">
      <div class="corner">
        <LangButton />
        <ThemeButton />
      </div>
      <form onSubmit={(e: Event) => void submit(e)} aria-labelledby="login-title" noValidate>
        <h1 id="login-title">
          <Mark /> Falcon
        </h1>
        <label>
          {t("login.name")}
          <input ref={name} class="field" name="username" autocomplete="username" autocapitalize="none" spellcheck={false} onKeyUp={watchCaps} />
        </label>
        <label>
          {t("login.password")}
          <input ref={password} class="field" name="password" type="password" autocomplete="current-password" onKeyUp={watchCaps} onKeyDown={watchCaps} />
        </label>
        <div class="said" role="alert">{sentence(failure.value, wait.value)}</div>
        {caps.value ? <div class="hint" role="status">{t("login.caps")}</div> : null}
        <button type="submit" class="button primary" disabled={busy.value || wait.value > 0} aria-busy={busy.value}>
          {t("login")}
        </button>
        <p class="hint">
          {t("login.forgot")} <code>falcon passwd {"NAME"}</code>
        </p>
      </form>
    </main>
  );
}

function sentence(err: unknown, wait: number): string {
  if (err === null) return "";
  if (err instanceof ApiError) {
    if (err.status === 429) return wait > 0 ? t("login.wait", { n: wait }) : t("login.again");
    // The api's words for programs, in people's.
    if (err.message === "no such user" || err.message === "password error") return t("login.wrong");
    if (err.message === "name or password is blank") return t("login.blank");
    if (err.message === "this user is blocked") return t("login.blocked");
  }
  return say(err);
}
