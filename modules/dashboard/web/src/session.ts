// Who is logged in. The cookie itself is out of the page's reach.
import { signal } from "@preact/signals";
import { ApiError, call, setCSRF, whenUnauthorized } from "./api";
import { store, stored } from "./prefs";

export interface User {
  id: number;
  name: string;
  /** May do what the api lets only administrators do. */
  admin: boolean;
}

interface Who {
  id: number;
  name: string;
  role: number;
}

const known = (w: Who): User => ({ id: w.id, name: w.name, admin: w.role > 0 });

/** undefined: not known yet; null: nobody; else the user. */
export const user = signal<User | null | undefined>(undefined);

/** Why the page does not know who is logged in: the api is away. */
export const sessionError = signal<unknown>(null);

function become(u: User | null): void {
  // The cookie can not be seen from here. This mark says that there should be one,
  // so that a stranger's first visit need not ask.
  store("in", u === null ? "0" : "1");
  user.value = u;
}

/** Asks the api who we are, unless nobody has logged in here. */
export async function resume(): Promise<void> {
  whenUnauthorized(() => become(null));
  sessionError.value = null;
  if (stored("in") !== "1") {
    become(null);
    return;
  }
  try {
    const [session, who] = await Promise.all([
      call("/user/auth_session", { quiet401: true }),
      call<Who>("/user/current", { quiet401: true }),
    ]);
    setCSRF(session.csrf);
    become(known(who.data));
  } catch (err) {
    if (err instanceof ApiError && err.status === 401) become(null);
    else sessionError.value = err;
  }
}

/** Logs in, or fails with an ApiError. */
export async function logIn(name: string, password: string): Promise<void> {
  const { data } = await call<{ name: string; csrf: string }>("/user/login", { method: "POST", body: { name, password }, quiet401: true });
  setCSRF(data.csrf);
  become(known((await call<Who>("/user/current", { quiet401: true })).data));
}

export async function logOut(): Promise<void> {
  try {
    await call("/user/logout", { quiet401: true });
  } catch (err) {
    if (!(err instanceof ApiError) || err.status === 0 || err.status >= 500) throw err; // still logged in
  }
  setCSRF("");
  become(null);
}
