// What has been told to the person at the screen: the bell's number and its list.
import { signal } from "@preact/signals";
import { call, isAbort } from "../api";
import { serverNow } from "../clock";
import { user } from "../session";

export interface Item {
  id: number;
  created: number;
  read_at: number;
  case_id: string;
  event_ts: number;
  endpoint: string;
  metric: string;
  priority: number;
  status: string;
  step: number;
}

interface Inbox {
  unread: number;
  items: Item[];
}

const pace = 10; // seconds
const patience = 60; // seconds after a failure: what has failed is likely to fail again
const length = 20;

export const inbox = signal<Inbox | null>(null);
export const inboxError = signal<unknown>(null);

let loading: AbortController | null = null;
let failedAt = 0;
/** A change under way: an answer that overtakes it would be from before. */
let marking: Promise<unknown> = Promise.resolve();

export async function readInbox(): Promise<void> {
  loading?.abort();
  const mine = (loading = new AbortController());
  try {
    await marking;
    if (mine.signal.aborted) return;
    inbox.value = (await call<Inbox>(`/alarm/inbox?limit=${length}&offset=0`, { signal: mine.signal })).data;
    inboxError.value = null;
  } catch (err) {
    if (isAbort(err)) return;
    inboxError.value = err;
    failedAt = Date.now();
  } finally {
    if (loading === mine) loading = null;
  }
}

/** Marks items as read, all of them without ids; the number falls at once. */
export async function markRead(ids: readonly number[] = []): Promise<void> {
  const before = inbox.peek();
  if (!before) return;
  loading?.abort(); // its answer is from before
  const at = Math.floor(serverNow());
  const now = (i: Item) => i.read_at === 0 && (ids.length === 0 || ids.includes(i.id));
  inbox.value = {
    unread: ids.length === 0 ? 0 : Math.max(0, before.unread - before.items.filter(now).length),
    items: before.items.map((i) => (now(i) ? { ...i, read_at: at } : i)),
  };
  const sent = call<{ unread: number }>("/alarm/inbox/read", { method: "POST", body: { ids } });
  marking = sent.catch(() => {});
  try {
    const { data } = await sent;
    if (inbox.peek()) inbox.value = { ...(inbox.peek() as Inbox), unread: data.unread };
    inboxError.value = null;
  } catch (err) {
    inbox.value = before;
    inboxError.value = err;
  }
}

/** Keeps the bell in step until the returned function is called. */
export function followInbox(): () => void {
  void readInbox();
  const beat = () => {
    const waits = inboxError.peek() !== null && Date.now() - failedAt < patience * 1000;
    if (!document.hidden && loading === null && !waits && user.peek()) void readInbox();
  };
  const timer = setInterval(beat, pace * 1000);
  document.addEventListener("visibilitychange", beat);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", beat);
    loading?.abort();
    inbox.value = null;
  };
}
