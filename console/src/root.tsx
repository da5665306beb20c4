/** Who may see what: the set-up, the sign-in, or the console. */

import { useCallback, useEffect, useState } from "preact/hooks";

import { onSignedOut, session as askSession, type Session } from "./api";
import { t, useLanguage } from "./i18n";
import { useLink } from "./link";
import { Entrance } from "./pages/entrance";
import { SetUp } from "./pages/set-up";
import { SignIn } from "./pages/sign-in";
import { Notices } from "./parts/notice";
import { go, useRoute } from "./route";
import { LostBar, Shell } from "./shell";

export function Root() {
  useLanguage();
  const route = useRoute();
  const { times, up } = useLink();
  const [session, setSession] = useState<Session | null>(null);
  const [ended, setEnded] = useState(false);

  const refresh = useCallback(async (): Promise<void> => {
    try {
      setSession(await askSession());
    } catch {
      // The bar says that nobody answers, and asks again.
    }
  }, []);
  useEffect(() => void refresh(), [times]);
  useEffect(() => {
    onSignedOut(() => {
      setSession((old) => (old ? { ...old, signed_in: false } : old));
      setEnded(true);
    });
  }, []);

  const page = () => {
    if (session === null) return up ? null : <Entrance title={t.product} lead={t.common.unreachable} />;
    if (!session.set_up && route.page === "setup") return <SetUp token={route.parts[0] ?? ""} onDone={refresh} />;
    if (!session.set_up) return <Entrance title={t.entrance.notSetUp} lead={t.entrance.notSetUpHow} />;
    if (!session.signed_in) {
      return (
        <SignIn
          says={ended ? t.entrance.ended : route.page === "setup" ? t.entrance.done : undefined}
          onDone={async () => {
            setEnded(false);
            if (route.page === "setup") go("#/live");
            await refresh();
          }}
        />
      );
    }
    return (
      <Shell
        session={session}
        route={route}
        onSignedOut={async () => {
          // At once, so that no page goes on asking and finds that it may not.
          setSession((old) => (old ? { ...old, signed_in: false } : old));
          setEnded(false);
          await refresh();
        }}
      />
    );
  };
  return (
    <>
      {!up && <LostBar />}
      {page()}
      <Notices />
    </>
  );
}
