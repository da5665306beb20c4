/** What is around the pages: the bar, the navigation, the choice of an application, and word of a lost server. */

import { useEffect, useRef, useState } from "preact/hooks";

import { applications as askApplications, signOut, type Session } from "./api";
import { PlaceContext } from "./context";
import { chooseLanguage, language, t } from "./i18n";
import { probe, useLink } from "./link";
import { useLoad } from "./load";
import { ApplicationsPage } from "./pages/applications";
import { AuditPage } from "./pages/audit";
import { ConversationPage } from "./pages/conversation";
import { ConversationsPage } from "./pages/conversations";
import { LivePage } from "./pages/live";
import { PasswordDialog } from "./pages/password";
import { SettingsPage } from "./pages/settings";
import { StoryPage } from "./pages/story";
import { Button, Empty, IconButton, Loading, Problem } from "./parts/basics";
import { Icon, Mark, type IconName } from "./parts/icon";
import { go, href, nameApplication, type Route } from "./route";
import { choose, remember, remembered, useTheme } from "./theme";

const KEY = "fastim.application";

type PageName = "live" | "conversations" | "story" | "settings" | "applications" | "audit";

const WATCH: PageName[] = ["live", "conversations", "story"];
const MANAGE: PageName[] = ["settings", "applications", "audit"];
/** They are about one application. */
const OF_ONE = new Set<string>(["conversations", "story", "settings"]);

export function Shell({
  session,
  route,
  onSignedOut,
}: {
  session: Session;
  route: Route;
  onSignedOut: () => Promise<void>;
}) {
  const loaded = useLoad("applications", askApplications);
  const [open, setOpen] = useState(false);
  const [changing, setChanging] = useState(false);
  const menu = useRef<HTMLDivElement>(null);
  const main = useRef<HTMLElement>(null);
  const address = [route.page, ...route.parts].join("/");
  const first = useRef(true);

  // Another page: the menu goes, the window starts at the top, and a screen reader reads on from the page's name.
  useEffect(() => {
    setOpen(false);
    if (first.current) {
      first.current = false;
      return;
    }
    if (route.page === "settings" && main.current?.contains(document.activeElement)) return;
    scrollTo(0, 0);
    main.current?.querySelector("h1")?.focus({ preventScroll: true });
  }, [address]);

  const known = loaded.data ?? [];
  const wanted = route.query.get("app") ?? remembered(KEY);
  const app = known.find((one) => one.id === wanted)?.id ?? known[0]?.id ?? "";
  nameApplication(known.length > 1 ? app : null);
  useEffect(() => {
    if (app) remember(KEY, app);
  }, [app]);

  const body = () => {
    if (route.page === "live") return <LivePage />;
    if (route.page === "applications") return <ApplicationsPage />;
    if (route.page === "audit") return <AuditPage />;
    if (!OF_ONE.has(route.page)) return <Empty icon="search">{t.shell.noPage}</Empty>;
    if (!loaded.data)
      return loaded.error ? <Problem error={loaded.error} retry={loaded.reload} /> : <Loading lines={6} />;
    if (!app) {
      return (
        <Empty icon="applications">
          <p>{t.shell.noApplication}</p>
          <a href={href(["applications"])}>{t.shell.createOne}</a>
        </Empty>
      );
    }
    if (route.page === "settings") return <SettingsPage key={app} group={route.parts[0] ?? ""} />;
    if (route.page === "story")
      return <StoryPage messageId={route.parts[0] ?? ""} conversationId={route.query.get("conversation") ?? ""} />;
    if (route.parts[0]) return <ConversationPage key={`${app} ${route.parts[0]}`} id={route.parts[0]} />;
    return <ConversationsPage key={app} query={route.query} />;
  };

  return (
    <PlaceContext.Provider value={{ app, applications: known, reloadApplications: loaded.reload }}>
      <a
        class="skip"
        href="#content"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        {t.shell.skip}
      </a>
      <div class="shell">
        <header class="bar">
          <span class="only-narrow">
            <IconButton
              icon={open ? "close" : "menu"}
              label={t.shell.menu}
              aria-expanded={open}
              aria-controls="menu"
              onClick={() => setOpen(!open)}
            />
          </span>
          <a class="brand" href={href(["live"])} aria-label={t.product}>
            <Mark />
            <b>{t.product}</b>
          </a>
          <div class="bar-end">
            {known.length > 1 && (
              <label class="switcher">
                <span class="unseen">{t.common.application}</span>
                <select
                  value={app}
                  onChange={(event) => {
                    const next = event.currentTarget.value;
                    // An application's conversation means nothing in another.
                    const kept = route.page === "settings" ? route.parts : [];
                    const target = href([route.page, ...kept], { app: next });
                    event.currentTarget.value = app;
                    go(target);
                  }}
                >
                  {known.map((one) => (
                    <option key={one.id} value={one.id}>
                      {one.id}
                    </option>
                  ))}
                </select>
              </label>
            )}
            <LanguageSwitch />
            <ThemeSwitch />
          </div>
        </header>
        <div
          id="menu"
          ref={menu}
          class={open ? "side open" : "side"}
          onKeyDown={(event) => {
            if (event.key === "Escape") setOpen(false);
          }}
        >
          <nav aria-label={t.shell.navigation}>
            <Links title={t.nav.watch} pages={WATCH} current={route.page} />
            <Links title={t.nav.manage} pages={MANAGE} current={route.page} />
            <div class="side-end">
              <a class="nav-link" href="/console/try">
                <Icon name="try" />
                {t.nav.try}
              </a>
              <button type="button" class="nav-link" onClick={() => setChanging(true)}>
                <Icon name="key" />
                {t.shell.password}
              </button>
              <button
                type="button"
                class="nav-link"
                onClick={async () => {
                  try {
                    await signOut();
                  } catch {
                    // Then the session is asked about, and says how it is.
                  }
                  await onSignedOut();
                }}
              >
                <Icon name="out" />
                {t.shell.signOut}
              </button>
              <p class="version">{t.shell.version(session.version)}</p>
            </div>
          </nav>
        </div>
        {open && <div class="shade" onClick={() => setOpen(false)} />}
        <main id="content" tabIndex={-1} ref={main} inert={open}>
          <div class="page">{body()}</div>
        </main>
      </div>
      {changing && <PasswordDialog onClose={() => setChanging(false)} />}
    </PlaceContext.Provider>
  );
}

function Links({ title, pages, current }: { title: string; pages: PageName[]; current: string }) {
  return (
    <>
      <p class="nav-title" aria-hidden="true">
        {title}
      </p>
      <ul aria-label={title}>
        {pages.map((page) => (
          <li key={page}>
            <a class="nav-link" href={href([page])} aria-current={page === current ? "page" : undefined}>
              <Icon name={page as IconName} />
              {t.nav[page]}
            </a>
          </li>
        ))}
      </ul>
    </>
  );
}

export function ThemeSwitch() {
  const theme = useTheme();
  const isDark = theme === "dark";
  return (
    <IconButton
      icon={isDark ? "sun" : "moon"}
      label={isDark ? t.shell.light : t.shell.dark}
      onClick={() => choose(isDark ? "light" : "dark")}
    />
  );
}

export function LanguageSwitch() {
  const next = language() === "en" ? "zh" : "en";
  return (
    <button
      type="button"
      class="icon-button text"
      lang={next === "zh" ? "zh-CN" : "en"}
      onClick={() => chooseLanguage(next)}
    >
      {next === "zh" ? "中文" : "English"}
    </button>
  );
}

/** Told once, when the server is lost; the seconds that count down are for the eyes. */
export function LostBar() {
  const { retryAt } = useLink();
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const left = Math.max(0, Math.ceil((retryAt - now) / 1_000));
  return (
    <div class="lost">
      <Icon name="alert" />
      <p>
        <strong role="alert">{t.shell.lost}</strong>{" "}
        <span>{retryAt && left ? t.shell.lostIn(left) : t.shell.lostNow}</span>
      </p>
      <Button small onClick={() => void probe()} disabled={!retryAt}>
        {t.shell.retry}
      </Button>
    </div>
  );
}
