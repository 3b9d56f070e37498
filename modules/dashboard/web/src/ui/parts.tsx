// The small marks that pages share.
import type { ComponentChildren } from "preact";
import { now } from "../clock";
import { age, count, t } from "../i18n";
import { moment } from "../text";
import { Failure } from "./error";
import { reloadAll, type Loaded } from "../load";

/** A priority in its colour; from 3 on all are quiet. */
export const Priority = ({ p }: { p: number }) => <span class={"prio p" + Math.min(Math.max(p, 0), 3)}>p{p}</span>;

export type Tone = "ok" | "bad" | "warn" | "info" | "none";

export const Pill = ({ tone, children }: { tone: Tone; children: ComponentChildren }) => <span class={"pill " + tone}>{children}</span>;

/** How long ago, with the moment itself in its title. */
export function Ago({ ts }: { ts: number }) {
  const at = now.value;
  return ts === 0 ? <span>–</span> : <time title={moment(ts, at)}>{age(at - ts)}</time>;
}

/** The search of a page's own list. */
export function Filter({ value, placeholder, onText, id }: { value: string; placeholder: string; onText(s: string): void; id?: string }) {
  return (
    <input
      type="search" class="field filter" value={value} placeholder={placeholder} aria-label={placeholder} spellcheck={false} autocomplete="off" id={id}
      onInput={(e: Event) => onText((e.currentTarget as HTMLInputElement).value)}
      onKeyDown={(e: KeyboardEvent) => {
        if (e.key !== "Escape") return;
        if (value) onText("");
        else (e.currentTarget as HTMLElement).blur();
      }}
    />
  );
}

/**
 * The thin line of work under way, and what failed with a way to try again; what is on
 * screen stays. What fails seldom fails alone: another try asks for all of the page.
 */
export function Status({ of }: { of: readonly Loaded<unknown>[] }) {
  const failed = of.find((l) => l.error !== null);
  return (
    <>
      <div class={"bar" + (of.some((l) => l.busy) ? " on" : "")} aria-hidden="true" />
      {failed ? <Failure error={failed.error} onRetry={reloadAll} /> : null}
    </>
  );
}

/** What a list says that has no rows: that it loads, that it could not, or why there are none. */
export function None<T>({ of, children }: { of: Loaded<T>; children: ComponentChildren }) {
  if (of.data === undefined) return of.error === null ? <div class="blank">{t("loading")}</div> : null;
  return <div class="blank">{children}</div>;
}

/** The headings of a table, each a text with the class of its cell; tools says that a last column has buttons. */
export function Head({ columns, tools }: { columns: readonly (readonly [text: string, name?: string])[]; tools?: boolean }) {
  return (
    <thead>
      <tr>
        {columns.map(([text, name]) => <th key={text} scope="col" class={name}>{text}</th>)}
        {tools ? <th class="tools-col"><span class="hidden">{t("edit")}</span></th> : null}
      </tr>
    </thead>
  );
}

/** A small button of a row: what it does, and to what. */
export function Tool({ does, to, pressed, onClick, children }: { does: string; to: string; pressed?: boolean; onClick(): void; children: ComponentChildren }) {
  return (
    <button type="button" class="icon-button" title={does} aria-label={`${does}: ${to}`} aria-pressed={pressed} onClick={onClick}>
      {children}
    </button>
  );
}

/** Below a list that is not drawn whole: how much of it is, and the way to more. */
export function More({ shown, all, onMore }: { shown: number; all: number; onMore(): void }) {
  if (shown >= all) return null;
  return (
    <div class="more">
      <button type="button" class="link" onClick={onMore}>{t("more.of", { n: count(shown), all: count(all) })}</button>
    </div>
  );
}
