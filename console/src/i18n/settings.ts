/** What settings do, in Chinese. The server says it in English; a setting that is missing here is shown so. */

export const linesInChinese: Partial<Record<string, string>> = {
  "messages.recall_enabled": "发送者是否可以撤回消息",
  "messages.modify_enabled": "发送者是否可以修改消息",
  "messages.unread_cap": "告知客户端的最大未读数；0：如实告知",
  "messages.unread_conversations": "登录时未读通知包含的对话数",
  "messages.history_days": "消息保存多久，更早的会被清除；0：永久保存",
  "messages.notices_days": "为离线成员保存事件通知多久，供其上线后获取",
  "conversations.members": "普通对话的最多成员数；超过时添加成员返回 4304",
  "conversations.roles_enabled": "所有者和管理员是否拥有普通成员没有的权限",
  "conversations.blacklist_enabled": "对话是否可以拉黑用户",
  "conversations.idle_days": "这么久没有消息和变化的对话连同历史一起清除；0：从不；服务号保留",
  "security.require_signature": "登录和成员变更是否需要用 Master Key 计算的签名",
  "users.verify_url": "签名登录前在此验证用户的 session token；空：不验证",
  "rest.sends_per_minute": "发送、修改和撤回的消息数；0：不限",
  "rest.subscriber_broadcasts_per_minute": "发给全部订阅者的消息数；0：不限",
  "rest.subscriber_broadcasts_per_day": "同上，按天计，UTC 0:00 起算；0：不限",
  "rest.broadcasts_per_minute": "发给所有人的消息数；0：不限",
  "rest.broadcasts_per_day": "同上，按天计，UTC 0:00 起算；0：不限",
  "rest.installations_per_minute": "用客户端密钥注册推送的设备数；0：不限",
  "words.enabled": "是否在消息中查找词表中的词并屏蔽",
  "words.file":
    "词表文件：每行一个词，UTF-8；启动时和收到 SIGHUP 时读取。上传的词表优先于配置文件中指定的，但不优先于锁定的",
  "words.two_enabled": "两人对话是否也过滤",
  "words.width": "全角半角、带圈和花体字母、部首和兼容字符是否视为相同",
  "words.case": "大小写是否视为相同",
  "words.traditional": "繁体是否视为简体",
  "words.zero_width": "是否忽略零宽字符和组合符号",
  "words.repeats": "词中的字符是否可以重复多次",
  "words.separators": "词的字符之间可以忽略什么：none 不忽略，careful 忽略不太可能是巧合的，any 全部忽略",
  "push.static": "Hook 和消息都没有指定时推送的内容",
  "push.webhook": "对每个离线成员的每条消息收到一次 POST",
  "push.retry_first_seconds": "首次失败后的等待；之后每次加倍，渠道指定了时间则以其为准",
  "push.retry_most_seconds": "两次尝试之间最长的等待",
  "push.at_once": "一个渠道同时发送的通知数",
  "push.apns": "苹果设备的密钥：{team_id, key_id, key_file, topic} 的列表；第一个用于没有指明团队的设备",
  "push.apns_url": "代替苹果两个地址的自建网关；空：用苹果的",
  "push.fcm_account_file": "Google 服务账号 JSON 文件；空：不使用 FCM",
  "push.fcm_url": "代替 Google 的地址；空：用 Google 的",
  "push.hms_app_id": "华为的应用 ID；空：不使用 HMS",
  "push.hms_app_secret": "与之配套的密钥",
  "push.hms_url": "代替华为的地址；空：用华为的",
  "push.xiaomi_app_secret": "小米的应用密钥；空：不使用小米推送",
  "push.xiaomi_package": "小米需要的应用包名",
  "push.xiaomi_channel": "小米批准的通知渠道；空：无",
  "push.xiaomi_url": "代替小米的地址；空：用小米的",
  "push.oppo_app_key": "OPPO 的应用 Key；空：不使用 OPPO 推送",
  "push.oppo_master_secret": "与之配套的密钥",
  "push.oppo_channel": "OPPO 批准的通知渠道；空：无",
  "push.oppo_url": "代替 OPPO 的地址；空：用 OPPO 的",
  "push.vivo_app_id": "vivo 的应用 ID；空：不使用 vivo 推送",
  "push.vivo_app_key": "与之配套的 Key",
  "push.vivo_app_secret": "与之配套的密钥",
  "push.vivo_url": "代替 vivo 的地址；空：用 vivo 的",
  "push.honor_app_id": "荣耀的应用 ID；空：不使用荣耀推送",
  "push.honor_client_id": "与之配套的客户端 ID",
  "push.honor_client_secret": "与之配套的密钥",
  "push.honor_url": "代替荣耀的地址；空：用荣耀的",
  "push.web_key_file": "浏览器推送的 VAPID 私钥，PEM；空：不使用 Web Push",
  "push.web_contact": "浏览器推送服务的联系方式：mailto:… 或 https://…",
  "hooks.url": "基础地址，其后加上 /1.1/functions/名称",
  "hooks.key": "随每次调用发送，供 Hook 确认调用者；空：用应用的",
  "hooks.python": "包含 Hook 的 Python 模块或文件，在独立进程中运行；优先于 hooks.url",
  "hooks.deadline_milliseconds": "客户端的命令最多等待 Hook 多久",
  "hooks.notice_deadline_milliseconds": "无人等待的调用最长时间",
  "hooks.at_once": "同时进行的调用数，询问和通知分别计；更多的需要等待",
  "hooks.required": '失败时拒绝相应操作的 Hook，如 ["_messageReceived"] 或 ["all"]；其他 Hook 失败时照常进行',
  "hooks.slow_milliseconds": "超过此时间的调用会记入日志",
  "hooks.breaker_failures": "连续失败多少次后熔断，期间视为失败",
  "hooks.breaker_seconds": "熔断多久；之后用一次调用试探",
  "hooks.refresh_seconds": "多久向 hooks.url 查询一次它定义了哪些 Hook",
  "hooks.service_url": "成批接收用户发给服务号的消息；空：不发送",
};

const UNITS: Partial<Record<string, string>> = {
  bytes: "字节",
  seconds: "秒",
  days: "天",
  milliseconds: "毫秒",
  microseconds: "微秒",
  minute: "每分钟",
  second: "每秒",
  day: "每天",
};

export function kindInChinese(kind: string): string {
  if (kind === "true or false") return "是或否";
  if (kind === "text") return "文本";
  const number = /^a (whole )?number(?: (?:of|per) (\w+))? (from|above) (\S+) to (\S+)$/.exec(kind);
  if (number) {
    const unit = UNITS[number[2] ?? ""];
    return `${number[3] === "above" ? `大于 ${number[4]}，` : `${number[4]} 到 `}${number[3] === "above" ? `不超过 ${number[5]}` : number[5]} 的${number[1] ? "整数" : "数"}${unit ? `（${unit}）` : ""}`;
  }
  return kind
    .replace(/^one of /, "其中之一：")
    .replace(/^a URL that starts with http:\/\/ or https:\/\//, "以 http:// 或 https:// 开头的网址")
    .replace(/^a JSON object as text/, "JSON 对象")
    .replace(/^a list of tables with .*$/, "表的列表，各项不能为空")
    .replace(/^a list of hooks such as (\S+), or "all"/, 'Hook 列表，如 $1，或 "all"')
    .replace(/^a path/, "路径")
    .replace(/^printable ASCII characters/, "可打印的 ASCII 字符")
    .replace(/^printable characters/, "可打印的字符")
    .replace(/, or empty$/, "，或留空");
}
