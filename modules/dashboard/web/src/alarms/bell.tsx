// The bell in the frame.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import { go } from "../router";
import { Failure } from "../ui/error";
import { BellIcon } from "../ui/icons";
import { Ago, Priority } from "../ui/parts";
import { followInbox, inbox, inboxError, markRead, readInbox, type Item } from "./inbox";

export const caseHref = (id: string): string => "/alarms?id=" + encodeURIComponent(id);

export function Bell() {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => followInbox(), []);
  useEffect(() => {
    const outside = (e: Event) => {
      if (!root.current?.contains(e.target as Node)) open.value = false;
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, []);
  const unread = inbox.value?.unread ?? 0;
  const visit = (i: Item) => {
    open.value = false;
    if (i.read_at === 0) void markRead([i.id]);
    // Its case may be over by now: the history has both. A test of a channel has none.
    if (i.case_id) go(caseHref(i.case_id));
  };
  return (
    <div class="bell" ref={root} onKeyDown={(e: KeyboardEvent) => e.key === "Escape" && (open.value = false)}>
      <button
        type="button" class="quiet" aria-haspopup="true" aria-expanded={open.value} aria-label={unread > 0 ? t("bell.n", { n: unread }) : t("bell")}
        onClick={() => {
          open.value = !open.value;
          if (open.value) void readInbox();
        }}
      >
        <BellIcon />
        {unread > 0 ? <span class="badge" aria-hidden="true">{unread > 99 ? "99+" : unread}</span> : null}
      </button>
      {open.value ? (
        <section class="menu inbox" aria-label={t("bell")}>
          <header>
            <h2>{t("bell")}</h2>
            {unread > 0 ? <button type="button" class="link" onClick={() => void markRead()}>{t("bell.read")}</button> : null}
          </header>
          {inboxError.value ? <Failure error={inboxError.value} onRetry={() => void readInbox()} /> : null}
          <div class="items">
            {(inbox.value?.items ?? []).map((i) => (
              <button key={i.id} type="button" class={"item" + (i.read_at === 0 ? " unread" : "")} onClick={() => visit(i)}>
                <Priority p={i.priority} />
                <span class="what">
                  <span class="mono">{i.endpoint}</span>
                  <span class="mono sub">{i.metric}</span>
                </span>
                <span class="end">
                  <span class={i.status === "OK" ? "ok-text" : "bad-text"}>{i.status === "OK" ? t("case.ok") : t("case.step", { n: i.step })}</span>
                  <Ago ts={i.created} />
                </span>
              </button>
            ))}
            {inbox.value && inbox.value.items.length === 0 ? <div class="blank">{t("bell.none")}</div> : null}
            {!inbox.value && !inboxError.value ? <div class="blank">{t("loading")}</div> : null}
          </div>
          <footer>
            <a href="/alarms" onClick={(e: MouseEvent) => {
              if (e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
              e.preventDefault();
              open.value = false;
              go("/alarms");
            }}>{t("bell.all")}</a>
          </footer>
        </section>
      ) : null}
    </div>
  );
}
