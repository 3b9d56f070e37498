// Line icons on a grid of 16, in the colour of the text.
import type { ComponentChildren } from "preact";

const Icon = ({ children }: { children: ComponentChildren }) => (
  <svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
    {children}
  </svg>
);

export const RefreshIcon = () => <Icon><path d="M13 5.5A5.5 5.5 0 1 0 13.5 8M13.3 2.5v3h-3" /></Icon>;
export const EnlargeIcon = () => <Icon><path d="M9.5 2.5h4v4M6.5 13.5h-4v-4M13.5 2.5l-4.5 4.5M2.5 13.5l4.5-4.5" /></Icon>;
export const ShrinkIcon = () => <Icon><path d="M13 7H9V3M3 9h4v4M9 7l4.5-4.5M7 9l-4.5 4.5" /></Icon>;
export const SunIcon = () => <Icon><circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9" /></Icon>;
export const MoonIcon = () => <Icon><path d="M13.2 9.6A5.6 5.6 0 0 1 6.4 2.8a5.6 5.6 0 1 0 6.8 6.8Z" /></Icon>;
export const UserIcon = () => <Icon><circle cx="8" cy="5.5" r="2.6" /><path d="M2.8 13.5c.8-2.4 2.8-3.6 5.2-3.6s4.4 1.2 5.2 3.6" /></Icon>;
export const HomeIcon = () => <Icon><path d="M2 7.8 8 2.5l6 5.3M3.8 6.6v6.9h8.4V6.6M6.6 13.5V9.6h2.8v3.9" /></Icon>;
export const ExploreIcon = () => <Icon><path d="M2 13.5h12M2.5 10.5l3.2-4 2.8 2.5L13.5 3" /></Icon>;
export const AlarmIcon = () => <Icon><path d="M8 2.2 14.3 13.3H1.7ZM8 6.5v3.2M8 11.6v.1" /></Icon>;
export const HostIcon = () => <Icon><rect x="2" y="2.5" width="12" height="4.6" rx="1" /><rect x="2" y="8.9" width="12" height="4.6" rx="1" /><path d="M4.5 4.8h.1M4.5 11.2h.1" /></Icon>;
export const GroupIcon = () => <Icon><rect x="2" y="2" width="5" height="5" rx="1" /><rect x="9" y="2" width="5" height="5" rx="1" /><rect x="2" y="9" width="5" height="5" rx="1" /><rect x="9" y="9" width="5" height="5" rx="1" /></Icon>;
export const TemplateIcon = () => <Icon><path d="M4 1.8h5.5L12.5 5v9.2H4ZM9.2 2v3.2h3.2M6.2 8.3h4M6.2 11h4" /></Icon>;
export const ExpressionIcon = () => <Icon><path d="M6 2.3c-1.8 0-2.2.9-2.2 2.4 0 1.6.2 3.3-1.8 3.3 2 0 1.8 1.7 1.8 3.3 0 1.5.4 2.4 2.2 2.4M10 2.3c1.8 0 2.2.9 2.2 2.4 0 1.6-.2 3.3 1.8 3.3-2 0-1.8 1.7-1.8 3.3 0 1.5-.4 2.4-2.2 2.4" /></Icon>;
export const TeamIcon = () => <Icon><circle cx="5.8" cy="5.6" r="2.3" /><path d="M1.6 13c.6-2.3 2.2-3.4 4.2-3.4S9.4 10.7 10 13M10.3 3.5a2.3 2.3 0 0 1 0 4.3M11.6 9.9c1.5.4 2.5 1.4 2.9 3.1" /></Icon>;
export const ChannelIcon = () => <Icon><path d="M14 2 2 7l4.5 2L14 2ZM14 2 9.5 14l-3-5M6.5 9v4.3l1.8-1.9" /></Icon>;
export const BellIcon = () => <Icon><path d="M3.3 11.5c1-1 1.2-2.2 1.2-4.3a3.5 3.5 0 0 1 7 0c0 2.1.2 3.3 1.2 4.3ZM6.7 13.6a1.4 1.4 0 0 0 2.6 0" /></Icon>;
export const MenuIcon = () => <Icon><path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11" /></Icon>;
export const EditIcon = () => <Icon><path d="M10.8 2.8 13.2 5.2 5.5 12.9 2.6 13.4 3.1 10.5Z" /></Icon>;
export const DeleteIcon = () => <Icon><path d="M3 4.5h10M6.5 4.5V2.8h3v1.7M4.5 4.5l.6 8.7h5.8l.6-8.7M6.8 7v4M9.2 7v4" /></Icon>;
export const CopyIcon = () => <Icon><rect x="5.5" y="5.5" width="8" height="8" rx="1" /><path d="M10.5 3v-.5h-8v8H3" /></Icon>;
export const CloseIcon = () => <Icon><path d="m3.5 3.5 9 9M12.5 3.5l-9 9" /></Icon>;
export const PauseIcon = () => <Icon><path d="M5.5 3.5v9M10.5 3.5v9" /></Icon>;
export const PlusIcon = () => <Icon><path d="M8 3v10M3 8h10" /></Icon>;
export const CheckIcon = () => (
  <svg viewBox="0 0 12 12" width="12" height="12" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M2.5 6.3 5 8.8l4.5-5.3" /></svg>
);

export const Mark = () => (
  <svg class="mark" viewBox="0 0 18 18" width="18" height="18" aria-hidden="true">
    <rect width="18" height="18" rx="4" fill="var(--accent)" />
    <path d="M4 11.5 14 7" stroke="var(--accent-ink)" stroke-width="2" stroke-linecap="round" />
  </svg>
);
