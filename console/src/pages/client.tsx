/** One client of a conversation: where it is signed in, and what can be done about it. Every deed is asked about. */

import { useState } from "preact/hooks";

import { block, client as askClient, kick, removeMember, silence, type Member } from "../api";
import { usePlace } from "../context";
import { isolate } from "../format";
import { said, t } from "../i18n";
import { useLoad } from "../load";
import { Badge, Button, Loading, Problem, Theirs, Time } from "../parts/basics";
import { Confirm, Dialog } from "../parts/dialog";
import { Field, TextField } from "../parts/field";
import { notice } from "../parts/notice";

/** More does not fit into what closes a session. */
const REASON_CHARACTERS = 20;

type Deed = "silence" | "block" | "remove" | "kick";

const DURATIONS = ["0", "600", "3600", "86400", "604800"] as const;

export function ClientDialog({
  conversationId,
  clientId,
  member,
  silenced,
  blocked,
  onChanged,
  onClose,
}: {
  conversationId: string;
  clientId: string;
  member: Member | undefined;
  silenced: boolean;
  blocked: boolean;
  onChanged: () => void;
  onClose: () => void;
}) {
  const { app } = usePlace();
  const [deed, setDeed] = useState<Deed | null>(null);
  const loaded = useLoad(`client ${app} ${clientId}`, (signal) => askClient(app, clientId, signal));
  const [problem, setProblem] = useState<Error | undefined>();
  const who = isolate(clientId);

  const lift = async (work: Promise<unknown>, says: string) => {
    try {
      await work;
      notice(says);
      onChanged();
      onClose();
    } catch (error) {
      setProblem(error as Error);
    }
  };
  if (deed)
    return (
      <DeedDialog
        deed={deed}
        conversationId={conversationId}
        clientId={clientId}
        onChanged={onChanged}
        onClose={onClose}
      />
    );
  return (
    <Dialog title={who} onClose={onClose}>
      <p class="badges">
        {loaded.data && (
          <Badge tone={loaded.data.online ? "good" : "plain"}>
            {loaded.data.online ? t.conversation.online : t.conversation.offline}
          </Badge>
        )}
        {member?.role && <Badge>{said(t.conversation.roles, member.role)}</Badge>}
        {silenced && <Badge tone="warn">{t.conversation.silenced}</Badge>}
        {blocked && <Badge tone="bad">{t.conversation.blockedPeople}</Badge>}
        {member?.muted && <Badge title={t.conversation.mutedHint}>{t.conversation.muted}</Badge>}
      </p>
      <h3>{t.conversation.sessions}</h3>
      {loaded.error && <Problem error={loaded.error} retry={loaded.reload} />}
      {!loaded.data && !loaded.error && <Loading lines={2} />}
      {loaded.data && !loaded.data.sessions.length && <p class="faint">{t.common.none}</p>}
      {loaded.data && loaded.data.sessions.length > 0 && (
        <ul class="sessions">
          {loaded.data.sessions.map((session, index) => (
            <li key={index}>
              <Theirs text={t.conversation.session(session.door ?? "", session.address ?? "") || t.common.unknown} />
              {session.tag && (
                <Badge>
                  {t.conversation.tag} <Theirs text={session.tag} />
                </Badge>
              )}
              <span class="faint">
                {t.conversation.since} <Time at={session.since} />
              </span>
            </li>
          ))}
        </ul>
      )}
      <Problem error={problem} />
      <div class="deeds">
        {silenced ? (
          <Button
            onClick={() => void lift(silence(app, conversationId, clientId, false), t.conversation.unsilenceDone(who))}
          >
            {t.conversation.unsilence}
          </Button>
        ) : (
          <Button onClick={() => setDeed("silence")}>{t.conversation.silence}</Button>
        )}
        {blocked ? (
          <Button
            onClick={() => void lift(block(app, conversationId, clientId, false), t.conversation.unblockDone(who))}
          >
            {t.conversation.unblock}
          </Button>
        ) : (
          <Button onClick={() => setDeed("block")}>{t.conversation.block}</Button>
        )}
        <Button onClick={() => setDeed("remove")}>{t.conversation.remove}</Button>
        <Button onClick={() => setDeed("kick")}>{t.conversation.kick}</Button>
      </div>
    </Dialog>
  );
}

function DeedDialog({
  deed,
  conversationId,
  clientId,
  onChanged,
  onClose,
}: {
  deed: Deed;
  conversationId: string;
  clientId: string;
  onChanged: () => void;
  onClose: () => void;
}) {
  const { app } = usePlace();
  const [seconds, setSeconds] = useState<(typeof DURATIONS)[number]>("3600");
  const [reason, setReason] = useState("");
  const words = t.conversation;
  const who = isolate(clientId);
  const { title, how, act, says, work } = {
    silence: {
      title: words.silenceTitle(who),
      how: words.silenceHow,
      act: words.silence,
      says: words.silenceDone(who),
      work: () => silence(app, conversationId, clientId, true, Number(seconds)),
    },
    block: {
      title: words.blockTitle(who),
      how: words.blockHow,
      act: words.block,
      says: words.blockDone(who),
      work: () => block(app, conversationId, clientId, true),
    },
    remove: {
      title: words.removeTitle(who),
      how: words.removeHow,
      act: words.remove,
      says: words.removeDone(who),
      work: () => removeMember(app, conversationId, clientId),
    },
    kick: {
      title: words.kickTitle(who),
      how: words.kickHow,
      act: words.kick,
      says: words.kickDone(who),
      work: () => kick(app, clientId, reason.trim()),
    },
  }[deed];
  return (
    <Confirm
      title={title}
      how={how}
      act={act.replace(/…$/, "")}
      onConfirm={async () => {
        await work();
        notice(says);
        onChanged();
      }}
      onClose={onClose}
    >
      {deed === "silence" && (
        <Field label={words.silenceFor}>
          {(control) => (
            <select
              {...control}
              value={seconds}
              onChange={(event) => setSeconds(event.currentTarget.value as typeof seconds)}
            >
              {DURATIONS.map((duration) => (
                <option key={duration} value={duration}>
                  {words.durations[duration]}
                </option>
              ))}
            </select>
          )}
        </Field>
      )}
      {deed === "kick" && (
        <TextField
          label={`${words.kickReason} (${t.common.optional})`}
          value={reason}
          onValue={setReason}
          maxLength={REASON_CHARACTERS}
        />
      )}
    </Confirm>
  );
}
